"""A latent prior: how far a code is from those that the mapping network makes.

Zhu et al. 2020, "Improved StyleGAN Embedding: Where are the Good Latents?" (arXiv:2012.09036), P_N+: before its last
leaky ReLU a code w is nearly normal; whitened there, its mean square is 1 for codes of random z, and large for codes
that only imitate a picture with what the generator has never drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.networks.stylegan2.networks import Generator
from refacer.networks.stylegan2.ops import LRELU_SLOPE
from refacer.networks.stylegan2.w_statistics import w_samples
from refacer.options import WStatistics

FLOOR = 0.01  # axes that random z hardly use are not forbidden


@dataclass(frozen=True)
class CodePrior:
    """mean (w_dim,) and axes (w_dim, w_dim): the principal ones as columns, each over its deviation."""

    mean: Tensor
    axes: Tensor

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes (N, num_ws, w_dim) to the mean square of their whitened values, (N,)."""
        return ((_before_relu(codes) - self.mean) @ self.axes).square().mean((1, 2))


def code_prior(generator: Generator, options: WStatistics, *, floor: float = FLOOR) -> CodePrior:
    """The prior of a generator's own codes, from samples of its mapping network, on its device.

    floor: of the mean variance, added to each.
    """
    values = _before_relu(w_samples(generator, options).double())
    mean = values.mean(0)
    variances, axes = torch.linalg.eigh((values - mean).T @ (values - mean) / len(values))
    axes = axes / (variances.clamp(min=0) + floor * variances.mean()).sqrt()
    device = generator.mapping.w_avg.device
    return CodePrior(mean.float().to(device), axes.float().to(device))


def _before_relu(codes: Tensor) -> Tensor:
    """The last leaky ReLU of the mapping network undone, but for its gain, which whitening takes out."""
    return torch.where(codes < 0, codes / LRELU_SLOPE, codes)
