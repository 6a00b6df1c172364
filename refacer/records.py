"""What each stage writes into a passport: the parameters that affect pixels, the models' sha256, the seed.

Single stages and the whole job take their records from here, so that both leave the same passport.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refacer.equipment import Equipment
from refacer.options import (
    AlignOptions,
    CompositeOptions,
    DecodeOptions,
    ParseOptions,
    ProjectOptions,
)
from refacer.types import Codes, SourceInfo, StageRecord

LARGEST = "largest"
INPUT = "input_sha256"


@dataclass(frozen=True)
class Records:
    """The records of one call's stages."""

    equipment: Equipment

    def align(self, options: AlignOptions, size: int, *, faces: str, count: int) -> StageRecord:
        """`faces` is recorded only where 'largest' left some of `count` out: the index alone would not tell why."""
        chosen = {"faces": LARGEST} if faces == LARGEST and count > 1 else {}
        return _record("align", {**asdict(options), "size": size, **chosen}, self.equipment.detector_models())

    def project(self, options: ProjectOptions, face: SourceInfo, init: Codes | None) -> StageRecord:
        """The face's own sha256 tells whether codes still belong to it; its size is told where it was resampled."""
        equipment = self.equipment
        details: dict[str, Any] = {"w_std": equipment.w_std, INPUT: face.sha256}
        if settings := equipment.perceptual_settings():
            details["perceptual"] = settings
        details["init"] = "mean" if init is None else array_sha256(init)
        if face.width != equipment.resolution:
            details["resampled_from_px"] = face.width
        generator = {options.into: equipment.generator_sha256(options.into, drawing=False)}
        models = {**generator, **equipment.perceptual_models()}
        return _record("project", {**_without_seed(options), **details}, models, options.seed)

    def decode(self, options: DecodeOptions, codes: Codes | None = None) -> StageRecord:
        """The seed matters only to random noise. codes: where no passport tells which they are."""
        models = {options.into: self.equipment.generator_sha256(options.into, drawing=True)}
        seed = options.seed if options.noise_mode == "random" else None
        given = {} if codes is None else {INPUT: array_sha256(codes)}
        return _record("decode", {**_without_seed(options), **given}, models, seed)

    def parse(self, options: ParseOptions) -> StageRecord:
        """The mask of some parts."""
        return _record("parse", asdict(options), self.equipment.parser_models())

    def labels(self) -> StageRecord:
        """All parts, as class ids."""
        return _record("parse", {"labels": True}, self.equipment.parser_models())

    def composite(self, options: CompositeOptions, mask: str | None = None) -> StageRecord:
        """mask: 'none', or the sha256 of one that was not parsed by us; None where a parse record tells."""
        return _record("composite", {**asdict(options), **({"mask": mask} if mask else {})}, {})


def like(recorded: Sequence[StageRecord], expected: Sequence[StageRecord]) -> bool:
    """Whether a face went through the same stages; what lay between them follows from the source and these."""
    return [_comparable(record) for record in recorded] == [_comparable(record) for record in expected]


def array_sha256(array: NDArray[Any]) -> str:
    """sha256 of an array's type, shape and values."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _record(
    stage: str, parameters: Mapping[str, Any], models: Mapping[str, str], seed: int | None = None
) -> StageRecord:
    """Parameters as JSON would give them back, so that records compare equal after a round trip."""
    return StageRecord(stage, json.loads(json.dumps(parameters)), dict(models), seed)


def _without_seed(options: ProjectOptions | DecodeOptions) -> dict[str, Any]:
    return {name: value for name, value in asdict(options).items() if name != "seed"}


def _comparable(record: StageRecord) -> StageRecord:
    kept = {name: value for name, value in record.parameters.items() if name != INPUT}
    return StageRecord(record.stage, kept, record.models, record.seed)
