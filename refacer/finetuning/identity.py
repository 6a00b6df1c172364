"""Whether both pictures of a sample show the same person: measured at each tick of a run on its fixed samples."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from statistics import fmean

import torch
from torch import Tensor

from refacer.networks.identity import IdentityNetwork
from refacer.networks.perceptual import shrink
from refacer.weights.choices import choose
from refacer.weights.terms import Use

LEAST_PX, MEASURED_PX, MEASURED_CODES = 64, 256, 8
"""Faces of smaller pictures are not found; larger ones are shrunk and only the first samples compared, to be quick."""

NEEDED = ("dlib", "face_recognition_models")


class RunIdentity:
    """Compares both pictures of each sample. reason: why nothing is measured, empty where it is."""

    def __init__(self, resolution: int, device: torch.device, *, paired: bool) -> None:
        self._device, self._paired = device, paired
        missing = [name for name in NEEDED if find_spec(name) is None]
        self.reason = f"not installed: {', '.join(missing)}" if missing else ""
        if resolution < LEAST_PX:
            self.reason = f"at {resolution} pixels no face is found"
        if not paired:
            self.reason = "a base has no second generator"

    def measured(self, drawn: Tensor, real: Tensor | None) -> dict[str, float]:
        """Mean over the first samples, (N, 3, R, R) each, and how many show two faces; empty where not measured."""
        if self.reason or real is None:
            return {}
        small = (shrink(pictures[:MEASURED_CODES], MEASURED_PX).split(1) for pictures in (real, drawn))
        pairs = zip(*small, strict=True)
        known = [value for value in (self._network.compare(*pair) for pair in pairs) if value is not None]
        mean = {self._network.name: fmean(known)} if known else {}
        return {**mean, "codes_with_faces": len(known)}

    @cached_property
    def _network(self) -> IdentityNetwork:
        """Loaded when it is first asked."""
        return choose("identity").load(self._device)

    @property
    def uses(self) -> list[Use]:
        """What compares, with its terms; empty where nothing is measured."""
        if self.reason:
            return []
        return [replace(use, role=f"{use.role}, for measuring only") for use in choose("identity").uses]
