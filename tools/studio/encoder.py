"""The encoder that helps to train the studio pair's base, and the distance its reconstructions are judged by."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.images.resampling import resized
from refacer.networks.perceptual import parts
from refacer.networks.stylegan2.layers import Linear
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig
from refacer.options import PART_CENTRES
from refacer.weights.published import load_efficientnet

ENCODER_PX = 128  # the encoder sees the face at this size, whatever the generator's resolution
FEATURES_PX = 128  # so does the perceptual network, and as large a piece at full resolution
FEATURES, PART_FEATURES = 512, 256
CENTRE = 0.8  # pieces are cut from this share of the picture's side: faces, not backdrops
PART_PX = 64  # what the encoder sees of each eye and the mouth
PARTS_L1 = 0.5  # what their L1 weighs beside that of the whole picture
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
    """A discriminator's trunk with a code instead of a verdict: (N, 3, R, R) -> Code.

    A second one sees eyes and mouth at full resolution: without it their gaze and shape never reach the code, and the
    generator learns the eyes of nobody.
    """

    def __init__(self, z_dim: int, num_ws: int, w_dim: int) -> None:
        super().__init__()
        self.trunk = _trunk(ENCODER_PX, FEATURES)
        self.mean, self.logvar = Linear(FEATURES, z_dim), Linear(FEATURES, z_dim, bias=START_LOGVAR)
        self.part_trunk = _trunk(PART_PX, PART_FEATURES)
        self.offsets = Linear(FEATURES, num_ws * w_dim)
        self.part_offsets = Linear(len(PART_CENTRES) * PART_FEATURES, num_ws * w_dim)
        for head in (self.offsets, self.part_offsets):
            nn.init.zeros_(head.weight)
        self.shape = (num_ws, w_dim)

    def forward(self, images: Tensor) -> Code:
        features = self.trunk(F.interpolate(images, size=(ENCODER_PX, ENCODER_PX), mode="area"))
        seen = self.part_trunk(resized(parts(images), PART_PX)).unflatten(0, (len(PART_CENTRES), -1))
        offsets = self.offsets(features) + self.part_offsets(seen.transpose(0, 1).flatten(1))
        return Code(self.mean(features), self.logvar(features).clamp(-12, 4), offsets.unflatten(1, self.shape))


def _trunk(side_px: int, features: int) -> Discriminator:
    """A discriminator (N, 3, S, S) that ends in features (N, features)."""
    config = DiscriminatorConfig(img_resolution=side_px, channel_base=2048, channel_max=256, mbstd_group_size=1)
    trunk = Discriminator(config)
    trunk.b4.fc = Linear(trunk.b4.fc.weight.shape[1], features, activate=True)
    trunk.b4.add_module("out", nn.Identity())  # the verdict is not asked for
    return trunk


class Likeness(nn.Module):
    """How far two sets of pictures are apart, to the eye: L1 at three scales and EfficientNet-Lite0's features.

    A face is read from its eyes and mouth, which are a few per cent of its pixels: both terms look at them once more.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.network = load_efficientnet(device, FEATURES_PX)

    @staticmethod
    def l1(images: Tensor, drawn: Tensor) -> Tensor:
        """The mean of L1 at full, half and quarter size, and L1 of eyes and mouth."""
        whole = torch.stack([F.avg_pool2d(images - drawn, k).abs().mean() for k in (1, 2, 4)]).mean()
        return whole + PARTS_L1 * parts(images - drawn).abs().mean()

    def perceptual(self, images: Tensor, drawn: Tensor, draw: torch.Generator) -> Tensor:
        """The mean distance of whole pictures, of eyes and mouth, and of one piece of each where they are large."""
        distance = self._distance(images, drawn)
        size = images.shape[-1]
        if size <= FEATURES_PX:
            return distance
        distance = 0.5 * (distance + self._distance(*(resized(parts(x), FEATURES_PX) for x in (images, drawn))))
        margin = max(0, int(size * (CENTRE - 1) / 2))
        top, left = (int(torch.randint(margin, size - FEATURES_PX - margin + 1, [], generator=draw)) for _ in range(2))
        piece = (..., slice(top, top + FEATURES_PX), slice(left, left + FEATURES_PX))
        return distance + 0.5 * self._distance(images[piece], drawn[piece])

    def _distance(self, images: Tensor, drawn: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.network.features(images)
        return (self.network.features(drawn) - target).square().sum(1).mean()
