"""A discriminator over the features of a network that stays as it is (Sauer et al. 2021, "Projected GANs").

Small heads on what a network trained on a million photographs sees learn within some hundred pictures what a
discriminator of its own needs many thousands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

HEAD_CHANNELS = 48
NEGATIVE_SLOPE = 0.2
MOMENTUM = 0.05  # of the running mean and spread of the features


class Taps(Protocol):
    """What features are taken from."""

    def taps(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1] -> activations (N, C, h, w), finest first."""
        ...


class ProjectedDiscriminator(nn.Module):
    """Pictures to logits of patches, at as many sizes as there are chosen taps; positive is real.

    trunk: is not trained and no part of the state. chosen: which of its taps. sample: pictures (1, 3, H, W) to learn
    the taps' channels from.
    """

    def __init__(self, trunk: Taps, chosen: Sequence[int], sample: Tensor) -> None:
        super().__init__()
        self._trunk = (trunk,)  # in a tuple, or it would be registered
        self.chosen = tuple(chosen)
        with torch.no_grad():
            taps = trunk.taps(sample)
        self.heads = nn.ModuleList(_head(taps[index].shape[1]) for index in self.chosen).to(sample.device)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1] -> logits (N, patches) of every head."""
        taps = self._trunk[0].taps(images)
        return [head(taps[index]).flatten(1) for index, head in zip(self.chosen, self.heads, strict=True)]


def hinge_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The discriminator's hinge loss (Lim & Ye 2017), the mean over heads."""
    losses = [(1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def _head(channels: int) -> nn.Sequential:
    wide = nn.Conv2d(channels, HEAD_CHANNELS, 3, padding=1)
    nn.init.kaiming_normal_(wide.weight, NEGATIVE_SLOPE)
    norm = nn.BatchNorm2d(channels, affine=False, momentum=MOMENTUM)
    return nn.Sequential(norm, wide, nn.LeakyReLU(NEGATIVE_SLOPE), nn.Conv2d(HEAD_CHANNELS, 1, 1))
