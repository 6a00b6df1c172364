"""Ways from a face to its code, side by side in one run: how long they take and how near they come (docs/inversion.md).

    python benchmarks/projection.py --data pairs.zip [--pair NAME] [--rows NAME ...] [--json FILE]

Every face of the archive's look `cg` is inverted into the rendering generator by each row. Seconds are the mean of all
faces, one batch after the other on one machine; networks are read before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from refacer import Refacer
from refacer.device import machine_name
from refacer.files import write_atomic
from refacer.images.pixels import scale_to_unit
from refacer.inverters.method import chosen_method
from refacer.options import DecodeOptions
from refacer.stages.decode import decode
from refacer.stages.inversion import fitted_faces, invert_each
from refacer.training.dataset import FaceDataset

RATES = (0.02, 0.05, 0.1, 0.2)
ROWS: dict[str, dict[str, Any]] = {
    "paper": {"init": "mean", "steps": 500, "lr": 0.01, "prior": 0.0},
    "mean": {"init": "mean"},
    "encoder": {"init": "encoder", "steps": 0},
    **{
        f"encoder+{steps}@{rate:g}": {"init": "encoder", "steps": steps, "lr": rate}
        for steps in (5, 10, 15, 20, 50)
        for rate in RATES
    },
}
"""What each row chooses, as `refacer project` does."""


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    faces = read_faces(args.data, args.limit)
    rows = {}
    for name in args.rows:
        rows[name] = measured(args, ROWS[name], faces)
        print(f"{name:18}", "  ".join(f"{key} {value:.4f}" for key, value in rows[name].items()), flush=True)
    report = {"machine": machine_name(torch.device(args.device)), "faces": len(faces), "batch": args.batch}
    report |= {"pair": args.pair, "rows": rows}
    if args.json:
        write_atomic(args.json, json.dumps(report, indent=1).encode() + b"\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder or zip of aligned faces")
    parser.add_argument("--pair", help="name or folder of the pair")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--limit", type=int, help="faces at most")
    parser.add_argument("--batch", type=int, default=1, help="faces inverted at once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


def read_faces(source: Path, limit: int | None) -> list[Tensor]:
    """Aligned faces of 256 pixels, (1, 3, 256, 256) in [-1, 1] each."""
    data = FaceDataset([source], 256, mirror=False)
    return [scale_to_unit(data.batch(i, 1)) for i in range(min(len(data), limit or len(data)))]


def measured(args: argparse.Namespace, choices: Mapping[str, Any], faces: list[Tensor]) -> dict[str, float]:
    """Seconds a face, the distance of Eq. 4 and the squared difference of the codes' own pictures."""
    studio = Refacer(args.pair, args.device, **choices)
    equipment = studio.equipment
    inverter, generator = chosen_method(equipment).inverter(), equipment.rendering
    given = [face.to(equipment.device) for face in faces]
    inverter(given[0], generator)  # the first call prepares what later ones share
    settled(equipment.device)
    began = time.perf_counter()
    found = invert_each(given, generator, inverter, batch=args.batch)
    settled(equipment.device)
    seconds = (time.perf_counter() - began) / len(faces)
    distances = [float(one.distance[0]) for one in found]
    options, apart = DecodeOptions(into="rendering"), []
    for face, one in zip(given, found, strict=True):
        drawn = decode(one.codes, generator, options)
        apart.append(float((fitted_faces(face, drawn.shape[-1]) - drawn).square().mean()))
    return {"seconds": seconds, "distance": fmean(distances), "distance_median": median(distances), "l2": fmean(apart)}


def settled(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
