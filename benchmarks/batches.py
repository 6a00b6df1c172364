"""Small faces on a CPU: one after the other, in a batch, each in a thread, a batch in each; seconds a face.

    python benchmarks/batches.py [--pair NAME] [--faces N] [--steps N] [--rounds N] [--json FILE]

Eq. 4 on pictures that the pair's own rendering generator draws. Every way is timed in every round, in turn, and its
quickest round counts: others may use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from refacer import Refacer
from refacer.device import machine_name
from refacer.files.artefacts import Face


def main() -> None:
    args = arguments()
    cores = torch.get_num_threads()
    one, together = (Refacer(args.pair, "cpu", steps=args.steps, batch=batch) for batch in (1, args.faces))
    faces = drawn(one, args.faces)
    ways: dict[str, Callable[[], object]] = {
        "one after the other, one thread": threaded(1, lambda: one.project_all(faces)),
        "in one batch, one thread": threaded(1, lambda: together.project_all(faces)),
        f"one a thread, {cores} threads": threaded(1, lambda: side_by_side(one, faces, cores)),
        f"a batch a thread, {cores} threads": threaded(1, lambda: side_by_side(together, faces, cores, cores)),
    }
    for studio in (one, together):
        studio.project_all(faces[:1])  # networks are read
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, way in ways.items():
            since = time.perf_counter()
            way()
            seconds[name].append((time.perf_counter() - since) / len(faces))
    report = {"machine": machine_name(torch.device("cpu")), "cores": cores, "pair": args.pair or "studio"}
    report |= {"faces": args.faces, "steps": args.steps, "seconds_a_face": {k: min(v) for k, v in seconds.items()}}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pair")
    parser.add_argument("--faces", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


def drawn(studio: Refacer, count: int) -> list[Face]:
    """Faces as the rendering generator draws them."""
    generator = studio.equipment.rendering
    z = torch.randn(count, generator.config.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        codes = generator.mapping(z)
    return [studio.decode(code[None].numpy(), into="rendering") for code in codes]


def threaded(threads: int, work: Callable[[], Any]) -> Callable[[], Any]:
    """The same with so many threads of torch's."""

    def go() -> Any:
        torch.set_num_threads(threads)
        return work()

    return go


def side_by_side(studio: Refacer, faces: Sequence[Face], threads: int, parts: int | None = None) -> None:
    """Every face, or so many parts of them, in a thread."""
    size = 1 if parts is None else -(-len(faces) // parts)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(studio.project_all, [faces[i : i + size] for i in range(0, len(faces), size)]))


if __name__ == "__main__":
    main()
