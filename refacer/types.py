"""The vocabulary: what travels between stages, with shapes, ranges and units.

Points are (x, y) in pixel indices of the upright source: the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refacer.errors import InputRefused

Rgb = NDArray[np.uint8]
"""A picture outside a stage: (H, W, 3), uint8, RGB, upright."""

Codes = NDArray[np.float32]
"""W+ codes: (N, num_ws, w_dim), float32, finite."""

Offsets = Mapping[str, NDArray[np.float16]]
"""Changes of a generator's weights, one set a code: a weight's name to shares (N, out, in, k, k) or (N, out, in, 1, 1).
"""

Points = tuple[tuple[float, float], ...]
"""Points (x, y) in source pixels: 68 landmarks, or the quad's NW, SW, SE, NE corners."""

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

PASSPORT_VERSION = 1
MAX_FACE_JSON_BYTES = 64 * 1024
MAX_COORDINATE_PX = 1e9


@dataclass(frozen=True)
class SourceInfo:
    """Which picture a face came from: size in pixels and sha256 of the decoded, upright pixels."""

    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class StageRecord:
    """What one stage did to a face: its parameters, the sha256 of each model used, its seed."""

    stage: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class FaceRecord:
    """One face of a source: its place, its quad and what was done to it so far.

    landmarks: 68 points or empty; quad: FFHQ's first one (before shrink, crop and padding), 4 points
    NW, SW, SE, NE in full-resolution upright source pixels; crop_size in pixels.
    """

    index: int
    count: int
    landmarks: Points
    quad: Points
    crop_size: int
    stages: tuple[StageRecord, ...] = ()

    def with_stage(self, record: StageRecord) -> FaceRecord:
        """The same face with one more stage in its history."""
        return replace(self, stages=(*self.stages, record))


@dataclass(frozen=True)
class Passport:
    """Where faces came from and what was done to them; one JSON object, schema in docs/passport.schema.json."""

    source: SourceInfo
    faces: tuple[FaceRecord, ...]

    def with_stage(self, record: StageRecord) -> Passport:
        """The same passport with one more stage in the history of each of its faces."""
        return replace(self, faces=tuple(face.with_stage(record) for face in self.faces))

    def to_json(self) -> str:
        """One line of JSON; equal passports give equal text."""
        body = {
            "version": PASSPORT_VERSION,
            "source": vars(self.source),
            "faces": [{**vars(f), "stages": [vars(s) for s in f.stages]} for f in self.faces],
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Passport:
        """Read a passport; raises InputRefused where the text is not one."""
        try:
            body = json.loads(text)
            if body["version"] != PASSPORT_VERSION:
                raise InputRefused(f"passport version {body['version']!r:.20} is not known; update refacer")
            passport = Passport(_source_from_json(body["source"]), tuple(map(_face_from_json, body["faces"])))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputRefused("not a refacer passport") from error
        if len(text.encode()) > MAX_FACE_JSON_BYTES * max(1, len(passport.faces)):
            raise InputRefused("the passport is larger than 64 KiB a face")
        return passport


def _source_from_json(body: dict[str, Any]) -> SourceInfo:
    """The source of a passport, with its size checked."""
    source = SourceInfo(int(body["width"]), int(body["height"]), str(body["sha256"]))
    if min(source.width, source.height) < 1:
        raise ValueError("a source has pixels")
    return source


def _face_from_json(body: dict[str, Any]) -> FaceRecord:
    """One face of a passport, with its points checked."""
    landmarks, quad = _points(body["landmarks"]), _points(body["quad"])
    if len(quad) != 4 or len(landmarks) not in (0, 68):
        raise ValueError("a quad has 4 points, a face 0 or 68 landmarks")
    crop = CropTransform(quad, max(1, int(body["crop_size"])))
    if crop.size != body["crop_size"] or abs(np.linalg.det(crop.source_from_crop[:, :2])) < 1e-12:
        raise ValueError("a crop has pixels, a quad has an area")
    stages = tuple(map(_stage_from_json, body["stages"]))
    return FaceRecord(int(body["index"]), int(body["count"]), landmarks, quad, crop.size, stages)


def _stage_from_json(body: dict[str, Any]) -> StageRecord:
    """One stage of a face's history."""
    seed = None if body["seed"] is None else int(body["seed"])
    return StageRecord(str(body["stage"]), dict(body["parameters"]), dict(body["models"]), seed)


def _points(values: Any) -> Points:
    points = tuple((float(x), float(y)) for x, y in values)
    if not (np.abs(np.array(points)) < MAX_COORDINATE_PX).all():
        raise ValueError("points must be finite and near their picture")
    return points


@dataclass(frozen=True)
class CropTransform:
    """The similarity between a square crop of `size` pixels and its quad in the source.

    The quad's corners are the crop's outer edges, and pixel indices are pixel centres: hence the half pixel, which
    FFHQ's own script loses where it shrinks the picture first.
    """

    quad: Points
    size: int

    @property
    def side_px(self) -> float:
        """Length of the quad's upper side in source pixels."""
        return float(np.hypot(*np.subtract(self.quad[3], self.quad[0])))

    @property
    def source_from_crop(self) -> NDArray[np.float64]:
        """(2, 3) matrix: source = M @ (i, j, 1) for the crop pixel in column i, row j."""
        nw, sw, _, ne = np.array(self.quad, np.float64)
        across, down = (ne - nw) / self.size, (sw - nw) / self.size
        return np.stack([across, down, nw + (across + down) / 2], axis=1)

    @property
    def crop_from_source(self) -> NDArray[np.float64]:
        """(2, 3) matrix, the inverse of `source_from_crop`."""
        square = np.vstack([self.source_from_crop, [0.0, 0.0, 1.0]])
        return np.linalg.inv(square)[:2]
