"""What each stage writes into a passport: the parameters that affect pixels, the models' sha256, the seed.

The single commands and `run` take their records from here, so that both leave the same passport.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refacer.jobs.session import Session
from refacer.options import AlignOptions, CompositeOptions, DecodeOptions, ParseOptions, ProjectOptions
from refacer.types import Codes, FaceRecord, Passport, Points, SourceInfo, StageRecord

LARGEST = "largest"
INPUT = "input_sha256"


@dataclass(frozen=True)
class Records:
    """The records of one call's stages."""

    session: Session

    def align(self, options: AlignOptions, size: int, *, faces: str, count: int) -> StageRecord:
        """`faces` is recorded only where 'largest' left some of `count` out, which nothing else in a passport tells."""
        chosen = {"faces": LARGEST} if faces == LARGEST and count > 1 else {}
        return _record("align", {**asdict(options), "size": size, **chosen}, self.session.detector_models(options))

    def project(self, options: ProjectOptions, face: SourceInfo, init: Codes | None) -> StageRecord:
        """The face's own sha256 tells whether codes still belong to it; its size is told where it was resampled."""
        pair = self.session.pair
        details: dict[str, Any] = {"w_std": pair.w_std, INPUT: face.sha256}
        if settings := self.session.perceptual_settings():
            details["perceptual"] = settings
        details["init"] = "mean" if init is None else array_sha256(init)
        if face.width != pair.resolution:
            details["resampled_from_px"] = face.width
        models = {options.into: pair.sha256(options.into), **self.session.perceptual_models()}
        return _record("project", {**_without_seed(options), **details}, models, options.seed)

    def decode(self, options: DecodeOptions, generator: Path | None) -> StageRecord:
        """The seed matters only to random noise."""
        models = {options.into: self.session.drawing_sha256(options.into, generator)}
        seed = options.seed if options.noise_mode == "random" else None
        return _record("decode", _without_seed(options), models, seed)

    def parse(self, options: ParseOptions) -> StageRecord:
        """The mask of some parts."""
        return _record("parse", asdict(options), self.session.parser_models())

    def labels(self) -> StageRecord:
        """All parts, as class ids."""
        return _record("parse", {"labels": True}, self.session.parser_models())

    def composite(self, options: CompositeOptions, mask: str | None = None) -> StageRecord:
        """mask: 'none', or the sha256 of one that was not parsed by us; None where a parse record tells."""
        return _record("composite", {**asdict(options), **({"mask": mask} if mask else {})}, {})


def like(recorded: Sequence[StageRecord], expected: Sequence[StageRecord]) -> bool:
    """Whether a face went through the same stages; what lay between them follows from the source and these."""
    return [_comparable(record) for record in recorded] == [_comparable(record) for record in expected]


def own_passport(face: SourceInfo) -> Passport:
    """The passport of a face that carries none: it is its own source, and its quad is all of it."""
    return Passport(face, (FaceRecord(0, 1, (), whole_quad(face), face.width),))


def is_own(passport: Passport) -> bool:
    """Whether a passport says no more than `own_passport`: the face has no place in another picture."""
    return all(not face.landmarks and face.quad == whole_quad(passport.source) for face in passport.faces)


def whole_quad(picture: SourceInfo) -> Points:
    """The quad that covers a picture."""
    low, right, bottom = -0.5, picture.width - 0.5, picture.height - 0.5
    return ((low, low), (low, bottom), (right, bottom), (right, low))


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
