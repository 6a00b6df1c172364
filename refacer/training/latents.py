"""Codes of W+ for training encoders: random ones, and e4e's discriminator, which knows the codes of random z."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refacer.networks.stylegan2.networks import Generator

D_WIDTH = 512
D_SLOPE = 0.2  # of its leaky ReLU
POOL = 50  # codes that a pool holds
REPLACED = 0.5  # of them, once it is full


@torch.no_grad()
def mixed_codes(generator: Generator, count: int, psi: tuple[float, float], random: torch.Generator) -> Tensor:
    """Codes (count, num_ws, w_dim) of two random z each, mixed at a random layer, towards the mean by a random psi.

    Half of them are not mixed.
    """
    device = random.device
    first, second = (
        generator.mapping(torch.randn(count, generator.z_dim, generator=random, device=device)) for _ in range(2)
    )
    layers = torch.arange(generator.num_ws, device=device)[None, :, None]
    cut = torch.randint(1, 2 * generator.num_ws, (count, 1, 1), generator=random, device=device)
    share = torch.rand(count, 1, 1, generator=random, device=device) * (psi[1] - psi[0]) + psi[0]
    return generator.mapping.w_avg.lerp(torch.where(layers >= cut, second, first), share)


class LatentDiscriminator(nn.Module):
    """Tells single codes of the mapping network from an encoder's."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (w_dim, D_WIDTH, D_WIDTH):
            layers += [nn.Linear(inputs, D_WIDTH), nn.LeakyReLU(D_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Linear(D_WIDTH, 1))

    def forward(self, w: Tensor) -> Tensor:
        """(N, w_dim) to logits (N,)."""
        return self.layers(w)[:, 0]


class CodePool:
    """Codes seen before, among which new ones are mixed: a discriminator that forgets none of them is steadier."""

    def __init__(self, w_dim: int, device: torch.device) -> None:
        self.kept = torch.zeros(0, w_dim, device=device)

    def query(self, codes: Tensor, random: torch.Generator) -> Tensor:
        """Codes (N, w_dim): half of them new, half older ones, once there are enough. The new ones are kept."""
        room = POOL - len(self.kept)
        self.kept, rest = torch.cat([self.kept, codes[:room]]), codes[room:]
        if not len(rest):
            return codes
        swapped = torch.rand(len(rest), generator=random, device=random.device) < REPLACED
        places = torch.randperm(POOL, generator=random, device=random.device)[: len(rest)]
        old = self.kept[places]
        kept = self.kept.clone()
        kept[places] = torch.where(swapped[:, None], rest, old)
        self.kept = kept
        return torch.cat([codes[:room], torch.where(swapped[:, None], old, rest)])


def of_random_layers(codes: Tensor, random: torch.Generator) -> Tensor:
    """One layer's code of each of (N, num_ws, w_dim): (N, w_dim)."""
    layers = torch.randint(codes.shape[1], (len(codes),), generator=random, device=random.device)
    return codes[torch.arange(len(codes), device=codes.device), layers]


def logistic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Of the discriminator, a number."""
    return F.softplus(fake).mean() + F.softplus(-real).mean()


def gradient_penalty(real: Tensor, codes: Tensor) -> Tensor:
    """R1: the squared norm of the logits' gradient at real codes, a number."""
    (gradient,) = torch.autograd.grad(real.sum(), codes, create_graph=True)
    return gradient.square().sum(1).mean()
