"""Lay a picture and its result side by side, the faces enlarged: before_after.py BEFORE AFTER OUT."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from refacer.files import read_passport, read_source
from refacer.options import MAX_PIXELS
from refacer.types import Points

HEIGHT = 720  # of the sheet in pixels
MARGIN = 0.12  # around the face's quad, as a fraction of its side
GAP = 8


def face_box(quad: Points, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The square around a quad inside a picture of (width, height): left, top, right, bottom."""
    points = np.array(quad)
    centre, half = points.mean(0), np.ptp(points, axis=0).max() * (0.5 + MARGIN)
    half = min(half, min(size) / 2)
    left, top = (np.clip(centre - half, 0, np.array(size) - 2 * half)).round().astype(int)
    side = round(2 * half)
    return int(left), int(top), int(left) + side, int(top) + side


def sheet(before: Image.Image, after: Image.Image, quad: Points) -> Image.Image:
    """Face before and after, then the whole picture before and after, all of one height."""
    box = face_box(quad, before.size)
    faces = [picture.crop(box).resize((HEIGHT, HEIGHT), Image.Resampling.LANCZOS) for picture in (before, after)]
    width = round(before.width * HEIGHT / before.height)
    wholes = [picture.resize((width, HEIGHT), Image.Resampling.LANCZOS) for picture in (before, after)]
    return in_a_row([*faces, *wholes])


def in_a_row(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one height beside each other, with white gaps."""
    total = sum(p.width for p in pictures) + GAP * (len(pictures) - 1)
    row = Image.new("RGB", (total, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + GAP
    return row


def main(before: str, after: str, out: str) -> None:
    """Write the sheet; the face's place comes from the result's passport."""
    quad = read_passport(Path(after)).faces[0].quad
    pictures = [Image.fromarray(read_source(Path(p), max_pixels=MAX_PIXELS).rgb) for p in (before, after)]
    result = sheet(pictures[0], pictures[1], quad)
    result.save(out, quality=90) if out.endswith(".jpg") else result.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
