"""Train the same tiny run with 1, 2, 3 and 4 processes: python several_processes.py PICTURES OUT.

One import serves them all: the processes are forked from this one, which computes nothing itself.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from refacer.training.processes import Processes
from refacer.training.trainer import Trainer
from tests.training.tiny import tiny_trainer

WORLDS = (1, 2, 3, 4)
ITERATIONS = 3
OPTIONS: dict[str, Any] = {
    "batch": 8, "batch_gpu": 2, "kimg": 1.0, "aug_p": 0.3, "jitter": 0.03, "ada_kimg": 1.0, "pl_interval": 2,
    "r1_interval": 2, "ada_interval": 2, "adam_eps": 1e-3,  # with 1e-8 Adam turns the last bit of a sum into a step
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "finetune": {"sketch_weight": 1e-5, "color_weight": 1.0},
    "scratch": {"freeze": False, "sketch_weight": 0.0, "color_weight": 0.0},
}


def trainer_of(pictures: Path, processes: Processes, changed: dict[str, Any]) -> Trainer:
    """A trainer over tiny networks; the processes but the first start from others, to be overruled."""
    seed = processes.rank if changed["sketch_weight"] == 0 else 0
    sizes = {"resolution": 8, "channel_base": 64, "channel_max": 8, "codes": 8}
    return tiny_trainer(pictures, {**OPTIONS, **changed}, **sizes, seed=seed, processes=processes)


def train(rank: int, world: int, pictures: Path, out: Path) -> None:
    """One process; every second world resumes in the middle of an interval of ADA from its own state."""
    torch.set_num_threads(1)
    if world > 1:
        meeting = f"file://{out}/meeting{world}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    processes, results = Processes(rank, world), {}
    for name, changed in RUNS.items():
        trainer = trainer_of(pictures, processes, changed)
        for iteration in range(ITERATIONS):
            if iteration == 1 and world % 2 == 0:
                state = copy.deepcopy(trainer.state_dict())
                trainer = trainer_of(pictures, processes, changed)
                trainer.load_state_dict(state)
            trainer.step()
        means = trainer.statistics.take(processes.sum)
        results[name] = {"state": trainer.state_dict(), "means": means, "gradient_norms": trainer.gradient_norms(4)}
    torch.save(results, out / f"world{world}-rank{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


def main() -> None:
    pictures, out = map(Path, sys.argv[1:])
    for world in WORLDS:
        start_processes(train, (world, pictures, out), nprocs=world, start_method="fork")


if __name__ == "__main__":
    main()
