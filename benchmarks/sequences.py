"""How steady the change is from frame to frame: pictures one by one, and as a sequence.

    python benchmarks/sequences.py FRAMES... [--way project] [--work DIR] [--json FILE] [--sheet FILE] [--webp FILE]

FRAMES are folders of frames (tools/studio/sequences.py renders some). The change of a frame is output minus input, in
[0, 255], seen at the face along its steady track. Flicker is what of it neither neighbour explains, the mean of
|c(t) - (c(t - 1) + c(t + 1)) / 2|: of every pixel, and of means over squares, where sharpened texture that moves with
the face does not count. Beside it the same of the input itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from refacer.files import read_passport, read_source
from refacer.images.pixels import tensor_from_rgb
from refacer.options import AlignOptions
from refacer.stages.align import align
from refacer.types import Points

FACE_PX = 256
SQUARES = {"pixels": 256, "squares of 1/16": 16, "squares of 1/4": 4}
SHOWN = 6  # frames on the sheet
WAYS = {"one by one": (), "sequence": ("--sequence",)}
FRAME_MS = 110


def main() -> None:
    args = arguments()
    report, rows, films = {}, [], []
    for folder in args.frames:
        with tempfile.TemporaryDirectory() as place:
            work = (args.work or Path(place)) / f"{folder.name}-{args.way}"
            chosen = ("--way", args.way, "--device", "cpu")
            outputs = {name: refaced(folder, work / name, [*chosen, *options]) for name, options in WAYS.items()}
            quads = {path.name: read_passport(path).faces[0].quad for path in sorted(outputs["sequence"].glob("*.png"))}
            before = faces(folder, quads)
            after = {name: faces(output, quads) for name, output in outputs.items()}
        report[folder.name] = measured(before, after)
        film = torch.cat([before, *after.values()], 3)
        films.append(film)
        rows.append(torch.cat([before[:: every(before)], after["sequence"][:: every(before)]], 2))
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.sheet:
        picture(torch.cat([torch.cat(list(row), 2) for row in rows], 1)).save(args.sheet, quality=88)
    if args.webp:
        frames = [picture(torch.cat(list(moment), 1)) for moment in zip(*films, strict=True)]
        first, *others = [frame.resize((frame.width * 2 // 3, frame.height * 2 // 3)) for frame in frames]
        first.save(args.webp, save_all=True, append_images=others, duration=FRAME_MS, loop=0, quality=70)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("--way", choices=["translate", "project"], default="translate")
    parser.add_argument("--work", type=Path, help="keep the results there; the same command goes on")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--sheet", type=Path, help="a JPEG of some frames, before above after")
    parser.add_argument("--webp", type=Path, help="a film: before, one by one, as a sequence")
    return parser.parse_args()


def refaced(folder: Path, output: Path, options: Sequence[str]) -> Path:
    """The folder as the program leaves it."""
    command = [sys.executable, "-m", "refacer", "run", str(folder), "-o", f"{output}/", "-q", *options]
    subprocess.run(command, check=True)
    return output


def faces(folder: Path, quads: dict[str, Points]) -> Tensor:
    """The face of every frame, (T, 3, S, S) in [0, 255], all cut along one track."""
    cut = [
        align(tensor_from_rgb(read_source(folder / name, max_pixels=10**8).rgb), quad, FACE_PX, AlignOptions())
        for name, quad in quads.items()
    ]
    return (torch.cat(cut) + 1) * 127.5


def measured(before: Tensor, after: dict[str, Tensor]) -> dict[str, Any]:
    """Flicker at each scale, of the input and of both ways, and how much less the sequence has."""
    figures: dict[str, Any] = {}
    for scale, count in SQUARES.items():
        found = {name: flicker(F.adaptive_avg_pool2d(frames - before, count)) for name, frames in after.items()}
        own = flicker(F.adaptive_avg_pool2d(before, count))
        less = round(found["one by one"] / found["sequence"], 1)
        figures[scale] = {"input": own, **found, "times less": less}
    return figures


def flicker(values: Tensor) -> float:
    """What neither neighbour in time explains of (T, ...), at the mean."""
    return round(float((values[1:-1] - (values[:-2] + values[2:]) / 2).abs().mean()), 3)


def every(frames: Tensor) -> int:
    """The step that shows SHOWN frames."""
    return max(len(frames) // SHOWN, 1)


def picture(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [0, 255] as a picture."""
    return Image.fromarray(pixels.round().clamp(0, 255).byte().permute(1, 2, 0).numpy())


if __name__ == "__main__":
    main()
