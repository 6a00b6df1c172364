"""Seconds a face by inversion and by translation, side by side in one run.

    python benchmarks/translate.py [--picture FILE] [--pair NAME] [--rounds N] [--json FILE]

Times the two stages on one aligned face, and the whole of `Refacer.run` by both ways, each as the median of some
rounds; networks are read before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from refacer import Refacer
from refacer.device import machine_name
from refacer.files import write_atomic

QUICK = 20
"""Rounds of what takes milliseconds for each of what takes seconds."""


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    both = {way: Refacer(args.pair, args.device, way=way) for way in ("project", "translate")}
    studio = both["project"]
    face = studio.align(args.picture, faces="largest")[0]
    for one in both.values():  # reads every network
        one.run(args.picture)
    figures = {
        "project_s": seconds(lambda: studio.project(face), args.rounds),
        "translate_s": seconds(lambda: studio.translate(face), args.rounds * QUICK),
        "run_project_s": seconds(lambda: both["project"].run(args.picture), args.rounds),
        "run_translate_s": seconds(lambda: both["translate"].run(args.picture), args.rounds),
    }
    report = {
        "machine": f"{machine_name(studio.equipment.device)}, {args.threads} threads",
        "pair": studio.equipment.pair.name,
        "steps": studio.equipment.project_options().steps,
        **{name: round(value, 4) for name, value in figures.items()},
        "stage_ratio": round(figures["project_s"] / figures["translate_s"]),
        "run_ratio": round(figures["run_project_s"] / figures["run_translate_s"], 1),
    }
    print(json.dumps(report, indent=1))
    if args.json:
        write_atomic(args.json, json.dumps(report, indent=1).encode() + b"\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", type=Path, default=Path("examples/display.png"))
    parser.add_argument("--pair", help="name or folder of the pair")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of some rounds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)


if __name__ == "__main__":
    main()
