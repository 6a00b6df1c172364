"""Codes of random z, and their statistics: those of the published projectors, so that numbers can be compared."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from refacer.networks.stylegan2.networks import Generator
from refacer.options import WStatistics

MAPPING_BATCH = 1000  # samples at a time; the average does not depend on it


@torch.no_grad()
def w_samples(generator: Generator, options: WStatistics) -> Tensor:
    """Codes (samples, w_dim) float32 of numpy's RandomState, as the published projectors draw them; on the CPU."""
    draws = np.random.RandomState(options.seed).randn(options.samples, generator.z_dim).astype(np.float32)
    device = generator.mapping.w_avg.device
    parts = torch.from_numpy(draws).split(MAPPING_BATCH)
    return torch.cat([generator.mapping(z.to(device))[:, 0].cpu() for z in parts])


def w_statistics(generator: Generator, options: WStatistics) -> tuple[Tensor, float]:
    """The average code (w_dim,) and the spread of w around it, one number, from samples of the mapping network."""
    w = w_samples(generator, options).double()
    w_avg = w.mean(0)
    spread = float((w - w_avg).square().sum().div(len(w)).sqrt())
    return w_avg.float().to(generator.mapping.w_avg.device), spread
