"""Laying pictures out on a sheet: fitting, enlarging, rows with captions, a JPEG below a megabyte."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from refacer.types import Points, Rgb

GAP_PX, CAPTION_PX = 6, 16
PAPER, INK = 255, 0
MAX_BYTES = 1_000_000
QUALITIES = (92, 88, 84, 80, 75, 70, 60, 50)


def fitted(picture: Rgb, height_px: int, width_px: int) -> Rgb:
    """The picture within a box of that size, on paper."""
    scale = min(height_px / picture.shape[0], width_px / picture.shape[1])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    image = Image.fromarray(picture)
    box = Image.new("RGB", (width_px, height_px), (PAPER,) * 3)
    box.paste(image if image.size == size else image.resize(size, Image.Resampling.LANCZOS), (0, 0))
    return np.array(box)


def enlarged(picture: Rgb, quad: Points, margin_frac: float, side_px: int) -> Rgb:
    """The upright square around a quad (NW, SW, SE, NE) with a margin, at `side_px`; white beyond the picture."""
    xs, ys = zip(*quad, strict=True)
    margin = margin_frac * math.dist(quad[0], quad[3])
    half = max(max(xs) - min(xs), max(ys) - min(ys)) / 2 + margin
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    box = tuple(round(value) for value in (x - half, y - half, x + half, y + half))
    padded = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), (PAPER,) * 3)
    padded.paste(Image.fromarray(picture), (-box[0], -box[1]))
    return np.array(padded.resize((side_px, side_px), Image.Resampling.BICUBIC))


def row_of(pictures: Sequence[Rgb]) -> Rgb:
    """Pictures beside each other with gaps; their upper edges on one line."""
    height = max(picture.shape[0] for picture in pictures)
    return _joined([_padded(picture, height, picture.shape[1]) for picture in pictures], 1)


def stacked(pictures: Sequence[Rgb]) -> Rgb:
    """Pictures below each other with gaps; their left edges on one line."""
    width = max(picture.shape[1] for picture in pictures)
    return _joined([_padded(picture, picture.shape[0], width) for picture in pictures], 0)


def captioned(row: Rgb, name: str, titles: Sequence[str]) -> Rgb:
    """A row with a line above that names it, unless the name is empty, and its columns."""
    head = f"{name}:  " if name else ""
    line = Image.new("RGB", (row.shape[1], CAPTION_PX), (PAPER,) * 3)
    ImageDraw.Draw(line).text((2, 2), f"{head}{'  |  '.join(titles)}", fill=(INK,) * 3)
    return np.concatenate([np.array(line), row])


def encode_jpeg(picture: Rgb) -> bytes:
    """A JPEG below MAX_BYTES, at the best quality that allows it."""
    data = b""
    for quality in QUALITIES:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True)
        data = file.getvalue()
        if len(data) < MAX_BYTES:
            return data
    raise ValueError(f"a sheet of {len(data)} bytes is too large; put fewer pictures on it")


def _padded(picture: Rgb, height: int, width: int) -> Rgb:
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas


def _joined(pictures: Sequence[Rgb], axis: int) -> Rgb:
    """Along an axis, a gap between each two; the other side must be equal."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, PAPER, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=axis)
