"""Sec. 3.2: train the rendering generator. Yields events; writes nothing and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.training.loop import Trainer

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
class Finished:
    """The run has seen all its images."""

    images_seen: int


def finetune(trainer: Trainer) -> Iterator[Tick | Finished]:
    """Train until `options.kimg`; after each Tick the caller may save `trainer.state_dict()` and samples."""
    options = trainer.options
    total, tick = round(options.kimg * 1000), options.tick_kimg * 1000
    while trainer.images_seen < total:
        start, began = trainer.images_seen, time.perf_counter()
        due = min((start // tick + 1) * tick, total)
        while trainer.images_seen < due:
            trainer.step()
        means = trainer.statistics.take()
        seconds = (time.perf_counter() - began) / (trainer.images_seen - start) * 1000
        yield Tick(trainer.images_seen, means, trainer.gradient_norms(), float(trainer.augment.p), seconds)
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
