"""Small pictures of what was done, before and after, for a page to show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from refacer.errors import RefacerError
from refacer.files import Native, Source, encode_preview, read_passport, read_source
from refacer.types import FaceRecord, Passport, Rgb

FACE_MARGIN = 0.1  # of a face's box, shown around it


@dataclass(frozen=True)
class View:
    """One comparison: WebP files of equal size. face: its number, None for the whole picture; width, height in pixels.

    after: None where nothing has changed.
    """

    face: int | None
    width: int
    height: int
    before: bytes
    after: bytes | None


@dataclass(frozen=True)
class Sizes:
    """Longest sides of a view in pixels: of a face, of the whole picture."""

    face_px: int
    whole_px: int


def views_of(source: Source, native: Native, passport: Passport, sizes: Sizes) -> list[View]:
    """The faces of a finished picture from left to right, then all of it."""
    before = source.rgb
    after = before if native is source.native else replace(source, native=native).rgb
    boxes = [(record.index, _box(record, before.shape[:2])) for record in passport.faces]
    faces = [_view(before[box], after[box], index, sizes.face_px) for index, box in boxes]
    return [*faces, _view(before, after, None, sizes.whole_px)]


def views_of_files(source: Path, output: Path, sizes: Sizes, *, max_pixels: int) -> list[View]:
    """The same of a picture that was finished earlier; empty where it can no longer be read."""
    try:
        passport = read_passport(output)
        pictures = [read_source(path, max_pixels=max_pixels) for path in (source, output)]
    except RefacerError:
        return []
    before, after = pictures
    if before.native.shape[:2] != after.native.shape[:2]:
        return []
    return views_of(before, after.native, passport, sizes)


def _box(record: FaceRecord, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The rows and columns around a face's quad that lie in a picture of this shape; never empty."""
    spans = []
    for values, size in zip(zip(*record.quad, strict=True), reversed(shape), strict=True):
        margin = FACE_MARGIN * (max(values) - min(values))
        start = min(max(int(np.floor(min(values) - margin)), 0), size - 1)
        spans.append(slice(start, max(min(int(np.ceil(max(values) + margin)) + 1, size), start + 1)))
    columns, rows = spans
    return rows, columns


def _view(before: Rgb, after: Rgb, face: int | None, longest_px: int) -> View:
    """Both pictures, shrunk to what fits."""
    height, width = before.shape[:2]
    scale = min(longest_px / max(height, width), 1)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    second = None if np.array_equal(before, after) else encode_preview(after, size)
    return View(face, *size, encode_preview(before, size), second)
