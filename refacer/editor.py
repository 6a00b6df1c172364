"""SDEdit at work on faces in memory: a model of photographs, its samples, and what their passports say."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from refacer.device import choose_device
from refacer.files.artefacts import Face
from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.options import SDEditOptions
from refacer.stages.sdedit import sdedit, visited
from refacer.types import Passport, StageRecord
from refacer.weights.denoisers import OpenModel, open_model


class Editor:
    """A model at work on faces. folder: what --model names. Raises what `open_model` and `visited` raise, when asked.

    Results are as large as the model's pictures.
    """

    def __init__(self, folder: Path, options: SDEditOptions, device: str = "auto") -> None:
        self.options, self.device = options, choose_device(device)
        self._folder = folder

    @cached_property
    def model(self) -> OpenModel:
        """The model, read when first asked for."""
        found = open_model(self._folder, self.device)
        visited(self.options, found.network)
        return found

    @property
    def seeds(self) -> list[int]:
        """Of the samples."""
        return [self.options.seed + i for i in range(self.options.samples)]

    def record(self, seed: int) -> StageRecord:
        """What the passport of a sample says."""
        parameters = {name: value for name, value in asdict(self.options).items() if name not in ("samples", "seed")}
        return StageRecord("sdedit", parameters, {self.model.use.role: self.model.use.sha256}, seed)

    def passport(self, face: Face, seed: int) -> Passport:
        """The passport of a sample of a face."""
        return face.passport.with_stage(self.record(seed))

    def edit(self, face: Face, seed: int) -> Face:
        """One sample of a face."""
        given = tensor_from_rgb(face.pixels, self.device)
        drawn = rgb_from_tensor(sdedit(given, self.model.network, self.options, seed))
        return Face.of(drawn, self.passport(face, seed))

    def facts(self) -> dict[str, Any]:
        """For a report."""
        use = self.model.use
        return {"device": str(self.device), "commercial_use": use.commercial, "weights": [asdict(use)]}
