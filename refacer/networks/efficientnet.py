"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946; Lite: tensorflow/tpu) as a perceptual network for a CPU.

A hundredth of VGG16's arithmetic, and its ImageNet weights come as a Python package.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refacer.errors import InputRefused
from refacer.networks.perceptual import fitted, weighted_features

STEM = 32
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
"""Blocks, kernel, stride of the first block, expansion and width; the last two stages of the published network are
left out, for they see 1/32 of the picture's size only."""

TAPS = (0, 2, 4, 10)
"""Blocks whose outputs are compared: the last one at each size."""

TAP_WIDTHS = ((16, 2), (24, 4), (40, 8), (112, 16))
"""Of each tap the channels, and how much smaller than the picture it is."""

LEAST_PX = 32  # smaller pictures are enlarged to it
BN_EPS = 1e-3


class EfficientNetFeatures(nn.Module):
    """The outputs of four blocks, unit-normalised over channels as in LPIPS, averaged over pixels, equally weighted.

    state: the published network's. input_px: larger pictures are shrunk to it.
    """

    def __init__(self, state: Mapping[str, Tensor], input_px: int = 256) -> None:
        super().__init__()
        self.input_px = input_px
        self.stem = _folded(state, "_conv_stem", "_bn0", stride=2)
        blocks, width = [], STEM
        for repeats, kernel, stride, expansion, out in STAGES:
            for repeat in range(repeats):
                name = f"_blocks.{len(blocks)}"
                blocks.append(_Block(state, name, (width, out, kernel), stride if repeat == 0 else 1, expansion))
                width = out
        self.blocks = nn.ModuleList(blocks)
        self.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, F) float32; the squared distance of two rows is the perceptual distance."""
        taps = self.taps(fitted(images, LEAST_PX, self.input_px))
        weight = images.new_full((), 1 / len(taps))
        return torch.cat([weighted_features(tap, weight) for tap in taps], 1)

    def taps(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) in [-1, 1], sides multiples of 16 -> (N, C, H / s, W / s) for s = 2, 4, 8 and 16."""
        x = F.relu6(self.stem(images.contiguous(memory_format=torch.channels_last)))
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                found.append(x)
        return found


class LookingThrough:
    """What a network has that sees with EfficientNet-Lite0, which is neither part of it nor of its state."""

    _trunk: tuple[EfficientNetFeatures, ...] = ()

    def look_through(self, trunk: EfficientNetFeatures) -> None:
        """Take a trunk, before the first face. In a tuple, so that it is no module of this one's."""
        self._trunk = (trunk,)

    @torch.no_grad()
    def taps(self, images: Tensor) -> list[Tensor]:
        """See `EfficientNetFeatures.taps`."""
        (trunk,) = self._trunk
        return trunk.to(images.device).taps(images)


class _Block(nn.Module):
    """An inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection without activation."""

    def __init__(
        self, state: Mapping[str, Tensor], name: str, sizes: tuple[int, int, int], stride: int, expansion: int
    ) -> None:
        super().__init__()
        channels, out, _ = sizes
        wide = channels * expansion
        self.expand = _folded(state, f"{name}._expand_conv", f"{name}._bn0") if expansion > 1 else None
        self.depthwise = _folded(state, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=wide)
        self.project = _folded(state, f"{name}._project_conv", f"{name}._bn2")
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class _SameConv(nn.Conv2d):
    """TensorFlow's SAME padding for even sizes: of an odd number of zeros the larger half lies right and below."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        total = self.kernel_size[0] - self.stride[0]
        if total > 0 and total % 2:
            input = F.pad(input, (total // 2, total - total // 2) * 2)
            return F.conv2d(input, self.weight, self.bias, self.stride, groups=self.groups)
        return F.conv2d(input, self.weight, self.bias, self.stride, max(total, 0) // 2, groups=self.groups)


def _folded(state: Mapping[str, Tensor], conv: str, norm: str, *, stride: int = 1, groups: int = 1) -> _SameConv:
    """A convolution with its batch normalisation folded in; InputRefused where the state is another network's."""
    try:
        weight = state[f"{conv}.weight"]
        scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + BN_EPS)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    except KeyError as error:
        raise InputRefused(f"not EfficientNet-Lite0: {error} is missing") from None
    out, kernel = weight.shape[0], weight.shape[-1]
    layer = _SameConv(weight.shape[1] * groups, out, kernel, stride, groups=groups)
    layer.weight = nn.Parameter((weight * scale.view(-1, 1, 1, 1)).contiguous(memory_format=torch.channels_last))
    layer.bias = nn.Parameter(bias)
    return layer
