"""The rows of the studio table: every way to a face of one person, and its figures against the input and the photo."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean, median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.studio_measures import Identity, identity_distance, sharpness
from refacer.errors import NoFace
from refacer.evaluation.faces import color_difference, pasted_region, perceptual_distance, squared_difference
from refacer.images.pixels import labels_from_array, rgb_from_tensor, snap, tensor_from_rgb
from refacer.networks.judge import Judge, face_mask, photo_logits
from refacer.networks.perceptual import Perceptual
from refacer.options import CHANGED_CLASSES, PASTED_CLASSES, CompositeOptions, Paste, TranslateOptions
from refacer.stages.change import fields_of_difference
from refacer.stages.parse import mask_from_labels
from refacer.stages.pipeline import Placed, composite_onto, decoded, translated
from tools.studio.parser_data import read_portraits
from tools.studio.transfer import Projected, Transfer

ROWS = {
    "input": "input as it is",
    "noise": "input with noise",
    "direct": "projected into the realistic generator",
    "direct_rendering": "that code, rendering generator",
    "reconstruction": "method's code, rendering generator",
    "method": "method",
    "face": "that, pasted with --paste face",
    "change": "that, pasted with --paste change",
    "auto": "that, pasted with --paste auto",
    "translate": "translated, without inversion",
    "run": "refacer run, by its own way, on the crop as a picture",
    "photo": "true photo",
}
NOISE_LEVELS = 5.0  # of 255: more than twice the grain of the photo look


@dataclass(frozen=True)
class Person:
    """One of the pairs: the input and the true photo (1, 3, S, S) in [-1, 1], the true labels (1, S, S)."""

    name: str
    face: Tensor
    photo: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Figures:
    """One picture in numbers. Distances: the smaller the nearer; photo: 1 where the judge calls it one.

    sharpness: mean |Laplacian| in the face, in levels of 255; sharpness_ratio: the same by the true photo's.
    """

    identity_to_input: float
    identity_to_photo: float
    perceptual_to_photo: float
    l2_to_photo: float
    color_to_photo: float
    photo: float
    sharpness: float
    sharpness_ratio: float
    seconds: float


def read_people(archive: Path, limit: int | None) -> list[Person]:
    """The people of pairs.zip."""
    faces, photos, labels = (read_portraits(archive, folder) for folder in ("cg", "photo", "label"))
    return [
        Person(name, tensor_from_rgb(faces[name]), tensor_from_rgb(photos[name]), labels_from_array(labels[name])[None])
        for name in sorted(faces)[:limit]
    ]


def pictures_of(person: Person, transfer: Transfer) -> dict[str, tuple[Tensor, float]]:
    """Every row's picture on the CPU at the person's size, a smaller pair's enlarged, and the seconds it took."""
    direct = transfer.project(person.name, person.face, "real")
    found = transfer.project(person.name, person.face, "rendering")
    rows = {
        "input": (person.face, 0.0),
        "noise": (with_noise(person.face), 0.0),
        "direct": (transfer.decode(direct.codes), direct.seconds),
        "direct_rendering": (transfer.draw(direct.codes, "rendering"), direct.seconds),
        "reconstruction": (transfer.draw(found.codes, "rendering"), found.seconds),
        "method": (transfer.decode(found.codes), found.seconds),
        **blended(person, found, transfer),
        "run": run_on(person, transfer),
        "photo": (person.photo, 0.0),
    }
    size = person.face.shape[-1]
    return {row: (enlarged(picture.cpu(), size), seconds) for row, (picture, seconds) in rows.items()}


def blended(person: Person, found: Projected, transfer: Transfer) -> dict[str, tuple[Tensor, float]]:
    """What `composite` makes of a person in their own crop, by every way and every way to paste, and the seconds."""
    real = transfer.decode(found.codes)
    rendering = decoded(found.codes, transfer.equipment.rendering, replace(transfer.decoding, into="rendering"))
    pastes: tuple[Paste, ...] = ("face", "change", "auto")
    pictures = {paste: (pasted(person, real, rendering, paste, transfer), found.seconds) for paste in pastes}
    if not transfer.pair.has("translator"):
        return pictures
    face, network = person.face.to(real), transfer.equipment.translator  # read before the clock starts
    began = time.perf_counter()
    drawn = translated(face, network, TranslateOptions())
    seconds = time.perf_counter() - began
    return {**pictures, "translate": (pasted(person, drawn, face, "change", transfer, exact=True), seconds)}


def run_on(person: Person, transfer: Transfer) -> tuple[Tensor, float]:
    """What `refacer run` makes of the crop, where it has to find the face itself; as it is where it finds none."""
    began = time.perf_counter()
    try:
        picture = tensor_from_rgb(transfer.studio.run(rgb_from_tensor(person.face)).image)
    except NoFace:
        picture = person.face
    return picture, time.perf_counter() - began


def pasted(
    person: Person, real: Tensor, rendering: Tensor, paste: Paste, transfer: Transfer, *, exact: bool = False
) -> Tensor:
    """A person's own crop as `composite` gives it back, (1, 3, S, S), with a new face or its change.

    exact: the rendering is the person's own picture, as of a translated face.
    """
    side = person.face.shape[-1] - 0.5
    quad = ((-0.5, -0.5), (-0.5, side), (side, side), (side, -0.5))
    mask = mask_from_labels(transfer.labels(real), PASTED_CLASSES if paste == "face" else CHANGED_CLASSES)
    options = CompositeOptions(
        paste=paste, strength=transfer.pair.defaults.strength, color="none" if exact else CompositeOptions.color
    )
    placed = Placed(real, mask, quad, rendering, fields_of_difference(rendering, real) if exact else None)
    picture = person.face.to(real, copy=True)
    composite_onto(picture, placed, options)
    return snap(picture.cpu())


def enlarged(picture: Tensor, size: int) -> Tensor:
    """A picture (1, 3, R, R) at `size` pixels, as a file would hold it."""
    if picture.shape[-1] == size:
        return picture
    return snap(F.interpolate(picture, size=(size, size), mode="bicubic", align_corners=False).clamp(-1, 1))


def with_noise(face: Tensor, seed: int = 0) -> Tensor:
    """The face with Gaussian noise, as a file would hold it."""
    noise = torch.randn(face.shape, generator=torch.Generator().manual_seed(seed))
    return snap(face + noise * (NOISE_LEVELS / 127.5))


def figures_of(
    person: Person, pictures: Mapping[str, tuple[Tensor, float]], identity: Identity, judge: Judge, network: Perceptual
) -> dict[str, Figures]:
    """The figures of each row; which pixels count is told by the true labels, for all rows alike."""
    region, mask = pasted_region(person.labels), face_mask(person.labels)
    found = {row: identity.landmarks(picture) for row, (picture, _) in pictures.items()}
    known = (found["input"], found["photo"])
    described = {row: identity.describe(picture, found[row], known) for row, (picture, _) in pictures.items()}
    return {
        row: Figures(
            identity_distance(described[row], described["input"]),
            identity_distance(described[row], described["photo"]),
            perceptual_distance(picture, person.photo, region, network),
            squared_difference(picture, person.photo, region),
            color_difference(picture, person.photo, region),
            float(photo_logits(judge, picture, mask)[0] > 0),
            sharpness(picture, mask),
            sharpness(picture, mask) / max(sharpness(person.photo, mask), 1e-6),
            seconds,
        )
        for row, (picture, seconds) in pictures.items()
    }


def mean_figures(rows: Iterable[Figures]) -> dict[str, float]:
    """The mean of each column over people; a face that was not found counts in no identity. Of seconds the median."""
    known = [asdict(row) for row in rows]
    means = {column.name: finite_mean(row[column.name] for row in known) for column in fields(Figures)}
    return {**means, "seconds": median(row["seconds"] for row in known)} if known else means


def finite_mean(values: Iterable[float]) -> float:
    """The mean of what is a number; NaN of nothing."""
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else float("nan")
