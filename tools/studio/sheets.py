"""The pair's sheets: every display and every pair of people, none left out.

    python -m tools.studio.sheets --data DIR --displays DIR --out docs/sheets [--pair NAME]

--data holds pairs.zip, --displays display_*.png. People are shown as input, by every way to paste, and as true photo;
displays before and after, whole and at the face.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.studio_rows import blended, read_people
from refacer.errors import NoFace
from refacer.files import read_source, write_atomic
from refacer.images.pixels import rgb_from_tensor
from refacer.images.sheet_layout import captioned, encode_jpeg, enlarged, fitted, row_of, stacked
from refacer.options import MAX_PIXELS
from refacer.types import Points, Rgb
from tools.studio.transfer import Transfer

CROP_PX, WHOLE_PX, FACE_PX = 192, 480, 480
PEOPLE_A_ROW, PEOPLE_A_SHEET, DISPLAYS_A_SHEET = 2, 20, 4
DISPLAY_TITLES = ("before", "after", "before, face", "after, face")
MARGIN_FRAC = 0.05  # of the quad's side, kept around it where a face is enlarged


@dataclass(frozen=True)
class Display:
    """A display before and after, and the quads of its faces."""

    name: str
    before: Rgb
    after: Rgb
    quads: tuple[Points, ...]


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    transfer = Transfer(args.pair, device=args.device, steps=args.steps, store=args.codes).read()
    displays = [shown(path, transfer) for path in sorted(args.displays.glob("display_*.png"))[: args.limit]]
    written = people_sheets(args, transfer) | display_sheets(displays)
    for name, data in written.items():
        write_atomic(args.out / name, data)
    unseen = [display.name for display in displays if not display.quads]
    print(json.dumps({"sheets": {n: len(d) for n, d in written.items()}, "no_face": unseen}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with pairs.zip")
    parser.add_argument("--displays", type=Path, required=True, help="folder of display_*.png")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--pair", help="name or folder of the pair")
    parser.add_argument("--steps", type=int, help="of the projection; the pair's own without")
    parser.add_argument("--limit", type=int, help="people and displays, for a trial")
    parser.add_argument("--codes", type=Path, help="folder to keep the people's codes in, and to take them from")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def people_sheets(args: argparse.Namespace, transfer: Transfer) -> dict[str, bytes]:
    """Sheets of the pairs' people by file name."""
    groups = []
    for person in read_people(args.data / "pairs.zip", args.limit):
        found = transfer.project(person.name, person.face, "rendering")
        drawn = blended(person, found, transfer)
        ways = ("face", "change", "translate" if "translate" in drawn else "auto")
        pictures = (person.face, *(drawn[way][0] for way in ways), person.photo)
        crops = [fitted(rgb_from_tensor(each), CROP_PX, CROP_PX) for each in pictures]
        groups.append(captioned(row_of(crops), person.name, ("input", *ways, "true photo")))
    rows = [row_of(groups[i : i + PEOPLE_A_ROW]) for i in range(0, len(groups), PEOPLE_A_ROW)]
    return sheets_of("people", rows, PEOPLE_A_SHEET // PEOPLE_A_ROW)


def display_sheets(displays: Sequence[Display]) -> dict[str, bytes]:
    """Sheets of the displays by file name."""
    return sheets_of("displays", [display_row(display) for display in displays], DISPLAYS_A_SHEET)


def sheets_of(name: str, rows: Sequence[Rgb], rows_a_sheet: int) -> dict[str, bytes]:
    """name-1.jpg, name-2.jpg ... with so many rows each."""
    starts = range(0, len(rows), rows_a_sheet)
    return {
        f"{name}-{i + 1}.jpg": encode_jpeg(stacked(rows[start : start + rows_a_sheet]))
        for i, start in enumerate(starts)
    }


def shown(path: Path, transfer: Transfer) -> Display:
    """A display through the whole job; one without a found face stays as it is."""
    before = read_source(path, max_pixels=MAX_PIXELS).rgb
    try:
        result = transfer.studio.run(path)
    except NoFace:
        return Display(path.stem, before, before, ())
    return Display(path.stem, before, result.image[..., :3], tuple(face.quad for face in result.passport.faces))


def display_row(display: Display) -> Rgb:
    """Both pictures whole, and both at each face."""
    cells = [fitted(picture, WHOLE_PX, WHOLE_PX * 3 // 4) for picture in (display.before, display.after)]
    for quad in display.quads[:1]:
        cells += [enlarged(picture, quad, MARGIN_FRAC, FACE_PX) for picture in (display.before, display.after)]
    titles = DISPLAY_TITLES if display.quads else (*DISPLAY_TITLES[:2], "no face found")
    return captioned(row_of(cells), display.name, titles)


if __name__ == "__main__":
    main()
