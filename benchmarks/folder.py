"""A folder of pictures: how many an hour, how well the machine is kept busy, peak memory, and beside a busy neighbour.

    python benchmarks/folder.py [--picture FILE] [--count N] [--way translate|project] [--json FILE]
        [--figures single,in-turn,folder,neighbour]
    python benchmarks/folder.py --figures memory --counts 100,300,1000 --picture tests/data/display.png [--json FILE]

Runs the program as a user does, each figure in a process of its own: a few single pictures, the folder in turn (one
thread reads ahead, one works), the folder as it is by default, and that again beside a process that is always busy. For
`memory` the folder as it is by default, with several counts of pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

SINGLES = 3
SAMPLE_S = 0.2
BUSY = "while True: pass"


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as place:
        folder = filled(Path(place) / "in", args.picture, args.count)
        options = ("--way", args.way, *(("--steps", str(args.steps)) if args.way == "project" else ()))
        figures: dict[str, Any] = {}
        for name in args.figures.split(","):
            if name == "memory":
                figures[name] = memory_of(args, Path(place), options)
                continue
            with neighbour() if name == "neighbour" else nullcontext():
                variables = {"OMP_NUM_THREADS": "1"} if name == "in-turn" else {}
                work = singles if name == "single" else measured
                figures[name] = work(folder, options, **variables)
    report = {"cores": len(os.sched_getaffinity(0)), "count": args.count, "way": args.way, "figures": figures}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", type=Path, default=ROOT / "examples/display.png")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--way", choices=("translate", "project"), default="translate")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--figures", default="single,in-turn,folder,neighbour")
    parser.add_argument("--counts", default="100,300,1000", help="of pictures, for the figure `memory`")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


def filled(folder: Path, picture: Path, count: int) -> Path:
    """A folder with so many copies of a picture."""
    folder.mkdir()
    for i in range(count):
        shutil.copy(picture, folder / f"{i:05}{picture.suffix}")
    return folder


def memory_of(args: argparse.Namespace, place: Path, options: tuple[str, ...]) -> dict[str, int]:
    """Peak memory in MB by the number of pictures."""
    found = {}
    for count in map(int, args.counts.split(",")):
        folder = filled(place / str(count), args.picture, count)
        found[str(count)] = measured(folder, options)["peak_mb"]
        print(count, found[str(count)], flush=True)
        shutil.rmtree(folder)
    return found


def measured(folder: Path, options: tuple[str, ...], **variables: str) -> dict[str, Any]:
    """The whole folder by one process; seconds of the items are without the start of the program."""
    report, out = folder.parent / "report.ndjson", folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    wall_s, memory = watched(["run", str(folder), "-o", f"{out}/", "--report", str(report), *options], variables)
    *items, summary = [json.loads(line) for line in report.read_text().splitlines()]
    work_s = sum(item["seconds"] for item in items)
    return {
        "wall_s": round(wall_s, 2),
        "pictures_per_hour": round(3600 * len(items) / wall_s),
        "wall_over_sum_of_stages": round(summary["seconds"] / work_s, 3),
        "peak_mb": max(memory),
        "mb_after_a_quarter": max(memory[: len(memory) // 4 + 1]),
    }


def singles(folder: Path, options: tuple[str, ...], **variables: str) -> dict[str, Any]:
    """A process a picture."""
    out, began, peak = folder.parent / "single.png", time.perf_counter(), 0
    for path in sorted(folder.iterdir())[:SINGLES]:
        peak = max(peak, *watched(["run", str(path), "-o", str(out), *options], variables)[1])
    each_s = (time.perf_counter() - began) / SINGLES
    return {"wall_s": round(each_s, 2), "pictures_per_hour": round(3600 / each_s), "peak_mb": peak}


def watched(arguments: list[str], variables: Mapping[str, str]) -> tuple[float, list[int]]:
    """Run the program: seconds, and its resident memory in MB every now and then."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "GOMP_"))}
    environment = {**inherited, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "refacer", *arguments, "--device", "cpu", "--range", "ignore", "-q"]
    memory, began = [0], time.perf_counter()
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None:
            memory.append(resident_mb(process.pid))
            time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, memory


def resident_mb(process: int) -> int:
    """Resident memory of a process in MB; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 10**6


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
