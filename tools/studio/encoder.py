"""The encoder that helps to train the studio pair's base, and the distance its reconstructions are judged by."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.networks.layers import Linear
from refacer.networks.stylegan2 import Discriminator, DiscriminatorConfig
from refacer.weights.efficientnet_file import load_efficientnet_features

ENCODER_PX = 128  # the encoder sees the face at this size, whatever the generator's resolution
FEATURES_PX = 128  # so does the perceptual network, and as large a piece at full resolution
FEATURES = 512
CENTRE = 0.8  # pieces are cut from this share of the picture's side: faces, not backdrops
START_LOGVAR = -3.0


class Code(NamedTuple):
    """A posterior over z, and what W+ adds to it: mean and logvar (N, z_dim), offsets (N, num_ws, w_dim)."""

    mean: Tensor
    logvar: Tensor
    offsets: Tensor

    def divergence(self) -> Tensor:
        """From the unit normal distribution that z is drawn from, in nats: (N,)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).sum(1)


class Encoder(nn.Module):
    """A discriminator's trunk with a code instead of a verdict: (N, 3, R, R) -> Code."""

    def __init__(self, z_dim: int, num_ws: int, w_dim: int) -> None:
        super().__init__()
        self.trunk = Discriminator(
            DiscriminatorConfig(img_resolution=ENCODER_PX, channel_base=2048, channel_max=256, mbstd_group_size=1)
        )
        self.trunk.b4.fc = Linear(self.trunk.b4.fc.weight.shape[1], FEATURES, activate=True)
        self.trunk.b4.add_module("out", nn.Identity())  # the verdict is not asked for
        self.mean, self.logvar = Linear(FEATURES, z_dim), Linear(FEATURES, z_dim, bias=START_LOGVAR)
        self.offsets = Linear(FEATURES, num_ws * w_dim)
        nn.init.zeros_(self.offsets.weight)
        self.shape = (num_ws, w_dim)

    def forward(self, images: Tensor) -> Code:
        features = self.trunk(F.interpolate(images, size=(ENCODER_PX, ENCODER_PX), mode="area"))
        offsets = self.offsets(features).unflatten(1, self.shape)
        return Code(self.mean(features), self.logvar(features).clamp(-12, 4), offsets)


class Likeness(nn.Module):
    """How far two sets of pictures are apart, to the eye: L1 at three scales and EfficientNet-Lite0's features."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_efficientnet_features(FEATURES_PX)

    @staticmethod
    def l1(images: Tensor, drawn: Tensor) -> Tensor:
        """The mean of L1 at full, half and quarter size."""
        return torch.stack([F.avg_pool2d(images - drawn, k).abs().mean() for k in (1, 2, 4)]).mean()

    def perceptual(self, images: Tensor, drawn: Tensor, draw: torch.Generator) -> Tensor:
        """The mean distance of whole pictures, and of one piece of each where they are larger than the network's."""
        distance = self._distance(images, drawn)
        size = images.shape[-1]
        if size <= FEATURES_PX:
            return distance
        margin = max(0, int(size * (CENTRE - 1) / 2))
        top, left = (int(torch.randint(margin, size - FEATURES_PX - margin + 1, [], generator=draw)) for _ in range(2))
        piece = (..., slice(top, top + FEATURES_PX), slice(left, left + FEATURES_PX))
        return 0.5 * (distance + self._distance(images[piece], drawn[piece]))

    def _distance(self, images: Tensor, drawn: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.network.features(images)
        return (self.network.features(drawn) - target).square().sum(1).mean()
