"""StyleGAN2's discriminator in the residual architecture (figure 7c of arXiv:1912.04958)."""

import math

import torch
from torch import Tensor, nn

from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.config import DiscriminatorConfig
from refacer.networks.stylegan2.layers import Conv, Linear, SkipConv
from refacer.networks.stylegan2.ops import minibatch_stddev, setup_filter

HALF = math.sqrt(0.5)  # two branches are added; this keeps their variance


class DiscriminatorBlock(nn.Module):
    """Two convolutions beside a skip branch, to half the size; the first block also takes the picture."""

    resample_filter: Tensor

    def __init__(self, config: DiscriminatorConfig, resolution: int) -> None:
        super().__init__()
        channels, clamp = config.channels(resolution), config.conv_clamp
        below = config.channels(resolution // 2)
        self.register_buffer("resample_filter", setup_filter())
        self.fromrgb = Conv(3, channels, 1, clamp=clamp) if resolution == config.img_resolution else None
        self.conv0 = Conv(channels, channels, 3, clamp=clamp)
        self.conv1 = Conv(channels, below, 3, down=True, clamp=clamp)
        self.skip = SkipConv(channels, below)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C or 3, R, R) to (N, C', R / 2, R / 2)."""
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        skip = self.skip(x, gain=HALF)
        return skip + self.conv1(self.conv0(x), gain=HALF)


class DiscriminatorEpilogue(nn.Module):
    """Minibatch statistic, a convolution and two fully connected layers, in float32: (N, C, 4, 4) to logits (N, 1)."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        channels = config.channels(4)
        self.mbstd_group_size = config.mbstd_group_size
        self.conv = Conv(channels + 1, channels, 3, clamp=config.conv_clamp)
        self.fc = Linear(channels * 16, channels, activate=True)
        self.out = Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 4, 4) to logits (N, 1); positive means real."""
        x = self.conv(minibatch_stddev(x.float(), self.mbstd_group_size))
        return self.out(self.fc(x.flatten(1)))


class Discriminator(nn.Module):
    """Pictures to logits under the published state names.

    Attributes:
        config, img_resolution: its shape.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.img_resolution = config.img_resolution
        for resolution in config.resolutions[:0:-1]:
            self.add_module(f"b{resolution}", DiscriminatorBlock(config, resolution))
        self.b4 = DiscriminatorEpilogue(config)

    def forward(self, img: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Judge pictures.

        Args:
            img: (N, 3, R, R) in [-1, 1].
            dtype: of activations and convolutions down to 8 pixels; the last block stays float32.

        Returns:
            (N, 1) float32 logits; positive means real.

        Raises:
            ShapeMismatch: img has another shape.
        """
        return self.b4(self.features(img, dtype=dtype)[-1])

    def features(self, img: Tensor, *, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Activations in dtype after every block, from R / 2 down to 4 pixels: a stand-in for a perceptual network."""
        side = self.img_resolution
        if img.ndim != 4 or img.shape[1:] != (3, side, side):
            raise ShapeMismatch(f"pictures have shape {tuple(img.shape)}; this network takes (N, 3, {side}, {side})")
        x = img.to(dtype).contiguous(memory_format=torch.channels_last)
        found = []
        for resolution in self.config.resolutions[:0:-1]:
            x = self.get_submodule(f"b{resolution}")(x)
            found.append(x)
        return found
