"""Sketches of faces, for the sketch loss (Eq. 1): DeepFaceEditing's extractor, and a stand-in that needs no weights."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refacer.options import LineOptions

LUMA = (0.299, 0.587, 0.114)  # Rec. 601
RESIDUAL_BLOCKS = 9
WIDTHS = (32, 64, 128, 256, 512)


class SketchExtractor(Protocol):
    """Draws the contours of a face: dark lines on white."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, 3 or 1, H, W) in [-1, 1], differentiable."""
        ...


class LineExtractor(nn.Module):
    """Contours by the extended difference of Gaussians (XDoG, Winnemöller et al. 2012), without weights.

    Of XDoG's two terms only the edge is kept, relative to the local luminance: the tone would ink dark skin and hair,
    which is what the two looks of a person do not share. Lengths are fractions of the picture's width.
    """

    def __init__(self, options: LineOptions | None = None):
        super().__init__()
        self.options = options or LineOptions()

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, 1, H, W) in [-1, 1], white where there is no line."""
        options = self.options
        luminance = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True).add(1).div(2).clamp(0, 1)
        sigma_px = options.sigma_frac * images.shape[-1]
        near = gaussian_blur(luminance, sigma_px)
        wide = gaussian_blur(luminance, sigma_px * options.ratio)
        depth = (wide - near) / (wide + options.floor)  # how much darker than around, as a share
        # Smooth about the threshold, so that a faint line has a gradient that can make it grow.
        above = F.softplus(depth - options.threshold, beta=3 / options.threshold)
        return 1 - 2 * torch.tanh(options.sharpness * above)


class DeepFaceSketch(nn.Module):
    """DeepFaceEditing's sketch generator (Chen et al. 2021): pix2pixHD's global generator under the published keys.

    Jittor's instance normalisation has weight and bias by default, torch's has not: the published file needs them.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), *_normalised(nn.Conv2d(3, WIDTHS[0], 7))]
        for narrow, wide in pairwise(WIDTHS):
            layers += _normalised(nn.Conv2d(narrow, wide, 3, stride=2, padding=1))
        layers += [_Residual(WIDTHS[-1]) for _ in range(RESIDUAL_BLOCKS)]
        for wide, narrow in pairwise(reversed(WIDTHS)):
            layers += _normalised(nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1))
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(WIDTHS[0], 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, 3, H, W) in [-1, 1]; H and W are multiples of 16, published for 512."""
        return self.model(images)


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Blur (N, C, H, W) with a Gaussian cut off at 3 sigma; beyond the border nothing is known, so nothing is added."""
    radius = max(1, math.ceil(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-offsets.square() / (2 * max(sigma_px, 1e-3) ** 2)).view(1, 1, -1)
    n, c, height, width = images.shape
    x = _blur_rows(images.reshape(n * c, 1, height, width), kernel)
    return _blur_rows(x.transpose(2, 3), kernel).transpose(2, 3).view(n, c, height, width)


def _blur_rows(x: Tensor, kernel: Tensor) -> Tensor:
    """Weighted mean along the last axis of (N, 1, H, W) over the pixels that exist."""
    radius = kernel.shape[-1] // 2
    total = F.conv1d(x.new_ones(1, 1, x.shape[-1]), kernel, padding=radius)
    return F.conv2d(x, kernel[:, :, None], padding=(0, radius)) / total[:, :, None]


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution with the instance norm and ReLU behind it."""
    return [convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU()]


class _Half(nn.Module):
    """Reflecting 3x3 convolution and instance norm, half of a residual block."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class _Residual(nn.Module):
    """x + half(relu(half(x)))."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(_Half(channels), _Half(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block[1](F.relu(self.conv_block[0](x)))
