"""What lies over a face must survive: glasses, a hat, a hand, drawn onto renders and treated like any face.

    python -m tools.studio.covered --data DIR --out docs/sheets/covered.jpg [--pair NAME]

--data holds pairs.zip. Each person is shown as drawn on, and as the pair's own way gives it back.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from refacer.engine import Refacer
from refacer.files import Source, write_atomic
from refacer.files.artefacts import Face
from refacer.files.samples import eight_bit
from refacer.images.sheet_layout import captioned, encode_jpeg, fitted, row_of, stacked
from refacer.records import face_record
from refacer.stages.pipeline import Found
from refacer.types import Passport, Rgb, StageRecord
from tools.studio.parser_data import read_portraits

CROP_PX, PEOPLE = 256, 8
Draw = ImageDraw.ImageDraw


def glasses(draw: Draw, side: int) -> None:
    """Rims about both eyes and a bridge between them."""
    for x in (0.40, 0.60):
        draw.ellipse(_box(x, 0.47, 0.085, 0.06, side), outline=(15, 15, 15), width=max(side // 85, 1))
    draw.line([(0.485 * side, 0.47 * side), (0.515 * side, 0.47 * side)], (15, 15, 15), max(side // 85, 1))


def sunglasses(draw: Draw, side: int) -> None:
    """The same, filled."""
    for x in (0.40, 0.60):
        draw.ellipse(_box(x, 0.47, 0.085, 0.06, side), fill=(12, 12, 14))
    draw.line([(0.485 * side, 0.46 * side), (0.515 * side, 0.46 * side)], (12, 12, 14), max(side // 60, 1))


def hat(draw: Draw, side: int) -> None:
    """A dark hat with a brim that shades the brows."""
    draw.rectangle((0.24 * side, 0, 0.76 * side, 0.3 * side), fill=(52, 48, 44))
    draw.rectangle((0.15 * side, 0.27 * side, 0.85 * side, 0.34 * side), fill=(34, 31, 29))


def hand(draw: Draw, side: int) -> None:
    """Four fingers before the mouth."""
    for i in range(4):
        x = (0.36 + 0.075 * i) * side
        draw.rounded_rectangle((x, 0.66 * side, x + 0.06 * side, side), 0.03 * side, fill=(214, 166, 140))


THINGS: Mapping[str, Callable[[Draw, int], None]] = {
    "glasses": glasses, "hat": hat, "hand": hand, "sunglasses": sunglasses,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with pairs.zip")
    parser.add_argument("--out", type=Path, required=True, help="the sheet, a JPEG")
    parser.add_argument("--pair", help="name or folder of the pair")
    args = parser.parse_args()
    studio = Refacer(args.pair)
    faces = read_portraits(args.data / "pairs.zip", "cg")
    chosen = sorted(faces)[:: max(len(faces) // PEOPLE, 1)][:PEOPLE]
    cells = []
    for name, thing in zip(chosen, cycle(THINGS), strict=False):
        before = covered(faces[name], thing)
        pictures = [fitted(picture, CROP_PX, CROP_PX) for picture in (before, treated(before, studio))]
        cells.append(captioned(row_of(pictures), thing, ("input", "output")))
    write_atomic(args.out, encode_jpeg(stacked([row_of(cells[i : i + 4]) for i in range(0, len(cells), 4)])))


def covered(face: Rgb, thing: str) -> Rgb:
    """An aligned face (S, S, 3) with a thing drawn over it."""
    picture = Image.fromarray(face)
    THINGS[thing](ImageDraw.Draw(picture), face.shape[0])
    return np.asarray(picture)


def treated(face: Rgb, studio: Refacer) -> Rgb:
    """An aligned face as it is given back in its own place, though no detector would find it any more."""
    source, side = Source(face), face.shape[0]
    low, high = -0.5, side - 0.5
    found = Found(0, 1, (), ((low, low), (low, high), (high, high), (high, low)))
    placed = Face.of(face, Passport(source.info, (face_record(found, side, StageRecord("align")),)))
    inverts = studio.equipment.way == "project"
    real = studio.decode(studio.project(placed)) if inverts else studio.translate(placed)
    return eight_bit(studio.paste(source, [real], ["auto"]).native)


def _box(x: float, y: float, across: float, down: float, side: int) -> tuple[float, float, float, float]:
    return ((x - across) * side, (y - down) * side, (x + across) * side, (y + down) * side)


if __name__ == "__main__":
    main()
