"""The columns of a comparison: what is measured of each picture, and what measured it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from refacer.comparison.faces import ComparedFace
from refacer.equipment import Equipment
from refacer.evaluation.faces import color_difference, pasted_region, perceptual_distance, squared_difference
from refacer.evaluation.networks import identity_network, load_judge, perceptual_network
from refacer.images.pixels import tensor_from_rgb
from refacer.networks.judge import Judge, face_mask, photo_logits
from refacer.stages.parse import parse
from refacer.weights.registry import sha256_of

VERSION = 1
"""Of what is measured: another one measures anew."""

Figures = dict[str, float | None]
"""One picture in numbers by column; None where no face was found."""


@dataclass(frozen=True)
class Column:
    """What a column holds. better: 'lower', 'higher' or '' where neither is; about: what measured it."""

    title: str
    better: str
    about: str
    digits: int = 3


@dataclass(frozen=True)
class Measured:
    """A face that methods are measured on, (1, 3, S, S) in [-1, 1]: what they were given, the truth where it is known,
    and the parts of the input, uint8 class ids (1, S, S)."""

    given: Tensor
    truth: Tensor | None
    labels: Tensor


class Measures:
    """The networks that measure. judge: a file. Raises InputRefused for another file, before any work."""

    def __init__(self, equipment: Equipment, judge: Path | None) -> None:
        self._equipment = equipment
        self._identity = identity_network(equipment)
        self._perceptual, name = perceptual_network(equipment)
        self._judge: Judge | None = load_judge(judge) if judge else None
        self._name = name
        equipment.note(*equipment.choice("parser").uses)  # also where all was measured before
        used = [VERSION, self._identity.name, name, equipment.parser_models(), equipment.perceptual_models()]
        used += [sha256_of(judge) if judge else None]
        self.id = hashlib.sha256(repr(used).encode()).hexdigest()

    def columns(self, *, truth: bool) -> dict[str, Column]:
        """The columns in order. truth: whether any face's truth is known."""
        identity, inside = self._identity, "inside the pasted parts of the input"
        found: dict[str, Column] = {}
        for to in ("input", "truth") if truth else ("input",):
            better = "higher" if identity.higher else "lower"
            about = f"{identity.name}: {identity.about}"
            found[f"{identity.name}_to_{to}"] = Column(f"identity to {to}", better, about)
            kind = self._name.replace("_", " ")
            found[f"{self._name}_to_{to}"] = Column(f"{kind} to {to}", "lower", f"{self._name}, {inside}")
            found[f"l2_to_{to}"] = Column(f"L2 to {to}", "lower", f"mean square of values in [-1, 1], {inside}", 4)
            found[f"color_to_{to}"] = Column(f"blurred colour to {to}", "lower", f"L2 after Eq. 2's blur, {inside}", 4)
        if self._judge is not None:
            found["judged_photo"] = Column("judged photo", "higher", "share that the judge calls a photograph", 2)
        return found

    def face(self, face: ComparedFace) -> Measured:
        """A face with the parts that count."""
        device = self._equipment.device
        given = tensor_from_rgb(face.face.pixels, device)
        truth = None if face.truth is None else tensor_from_rgb(face.truth, device)
        return Measured(given, truth, parse(given, self._equipment.parser))

    @torch.no_grad()
    def figures(self, picture: Tensor, face: Measured) -> Figures:
        """One picture of a face, of its size."""
        region, found = pasted_region(face.labels), Figures()
        for to, other in (("input", face.given), ("truth", face.truth)):
            if other is None:
                continue
            found[f"{self._identity.name}_to_{to}"] = self._identity.compare(picture, other)
            found[f"{self._name}_to_{to}"] = perceptual_distance(picture, other, region, self._perceptual)
            found[f"l2_to_{to}"] = squared_difference(picture, other, region)
            found[f"color_to_{to}"] = color_difference(picture, other, region)
        if self._judge is not None:
            mask = face_mask(face.labels).cpu()  # the judge draws its views from the CPU's random numbers
            found["judged_photo"] = float(photo_logits(self._judge, picture.cpu(), mask)[0] > 0)
        return found


def key_of(measures: str, picture: bytes, face: ComparedFace) -> str:
    """What figures depend on: the networks' id and the pixels; figures with the same key need not be taken again."""
    truth = b"" if face.truth is None else face.truth.tobytes()
    parts = (measures.encode(), picture, face.face.pixels.tobytes(), truth)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
