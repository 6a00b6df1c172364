"""What a busy neighbour costs an inversion, by threads and by how they wait for each other, in one run.

    python benchmarks/neighbour.py [--steps N] [--json FILE]

Every figure is a process of its own, since OpenMP reads its settings once: seconds for some steps of Eq. 4 on one
face, alone and beside a process that is always busy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0))
WAYS = {
    "one thread": (1, {}),
    "all threads, spinning": (CORES, {"GOMP_SPINCOUNT": "300000"}),  # where nobody chose
    "all threads, sleeping": (CORES, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
BUSY = "while True: pass"
WORK = """
import sys, time, torch
from refacer import Refacer
from refacer.stages.project import project
threads, steps, picture = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
studio = Refacer(way="project", device="cpu", steps=steps)
equipment = studio.equipment
face = studio.tensor(studio.align(picture, faces="largest")[0].source)
for _ in range(2):
    began = time.perf_counter()
    project(face, equipment.rendering, equipment.perceptual, equipment.w_std, equipment.project_options())
print(time.perf_counter() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--picture", default=str(ROOT / "examples/display.png"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    figures = {name: both(threads, variables, args) for name, (threads, variables) in WAYS.items()}
    report = {"cores": CORES, "steps": args.steps, "seconds": figures}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def both(threads: int, variables: dict[str, str], args: Any) -> dict[str, float]:
    """Seconds alone and beside a busy process."""
    alone = seconds(threads, variables, args)
    with subprocess.Popen([sys.executable, "-c", BUSY]) as neighbour:
        beside = seconds(threads, variables, args)
        neighbour.kill()
    return {"alone": alone, "beside": beside, "ratio": round(beside / alone, 2)}


def seconds(threads: int, variables: dict[str, str], args: Any) -> float:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "GOMP_"))}
    command = [sys.executable, "-c", WORK, str(threads), str(args.steps), args.picture]
    environment = {**inherited, "PYTHONPATH": str(ROOT), **variables}
    return round(float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout), 2)


if __name__ == "__main__":
    main()
