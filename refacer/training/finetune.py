"""Sec. 3.2: train the rendering generator. Yields events; writes nothing and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.training.trainer import Trainer

SAMPLE_SEED = 7
SAMPLE_BATCH = 8


@dataclass(frozen=True)
class Tick:
    """What happened since the last tick: mean losses, their gradients at the picture, ADA's p, the speed."""

    images_seen: int
    means: dict[str, float]
    gradient_norms: dict[str, float]
    augment_p: float
    seconds_per_kimg: float


@dataclass(frozen=True)
class Stopped:
    """The caller asked to stop; the state is that between two iterations."""

    images_seen: int


@dataclass(frozen=True)
class Finished:
    """The run has seen all its images."""

    images_seen: int


def finetune(trainer: Trainer, stopping: Callable[[], bool] = lambda: False) -> Iterator[Tick | Stopped | Finished]:
    """Train until `options.kimg`; after each Tick the caller may save `trainer.state_dict()` and samples.

    `stopping` is asked after every iteration; when it says so, Stopped is the last event. With several processes each
    runs this, and all must be told the same.
    """
    options = trainer.options
    total, tick = round(options.kimg * 1000), options.tick_kimg * 1000
    while trainer.images_seen < total:
        start, began = trainer.images_seen, time.perf_counter()
        due = min((start // tick + 1) * tick, total)
        stop = False
        while trainer.images_seen < due and not stop:
            trainer.step()
            stop = stopping()
        if trainer.images_seen >= due:
            means = trainer.statistics.take(trainer.processes.sum)
            seconds = (time.perf_counter() - began) / (trainer.images_seen - start) * 1000
            yield Tick(trainer.images_seen, means, trainer.gradient_norms(), float(trainer.augment.p), seconds)
        if stop:
            yield Stopped(trainer.images_seen)
            return
    yield Finished(trainer.images_seen)


@torch.no_grad()
def sample_pairs(trainer: Trainer, count: int) -> tuple[Tensor, Tensor | None]:
    """Fixed codes through the averaged generator, and through G_real where there is one: (count, 3, R, R) each."""
    nets = trainer.nets
    z = torch.randn(count, nets.generator_ema.z_dim, generator=torch.Generator().manual_seed(SAMPLE_SEED))
    chunks = z.to(trainer.device).split(SAMPLE_BATCH)
    ws = [nets.generator_ema.mapping(chunk) for chunk in chunks]
    drawn = torch.cat([nets.generator_ema.synthesis(w, noise_mode="const") for w in ws])
    real = torch.cat([nets.real.synthesis(w, noise_mode="const") for w in ws]) if nets.real else None
    return drawn, real
