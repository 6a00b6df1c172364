"""ArcFace's improved residual units (Deng et al. 2019, Sec. 3.1), with squeeze and excitation where it is wanted.

Attribute names are those of the published states: `shortcut_layer`, `res_layer.{0..5}`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SE_REDUCTION = 16


class SqueezeExcite(nn.Module):
    """Channels weighted by what the whole picture says (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // SE_REDUCTION)
        self.fc1 = nn.Conv2d(channels, narrow, 1, bias=False)
        self.fc2 = nn.Conv2d(narrow, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))


class Unit(nn.Module):
    """BN, conv, PReLU, conv, BN, and with `squeezed` SE; its shortcut picks pixels, or projects to more channels."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, squeezed: bool = False) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            *((SqueezeExcite(outputs),) if squeezed else ()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return self.res_layer(x) + self.shortcut_layer(x)


def input_layer(channels: int, width: int) -> nn.Sequential:
    """What comes before the units: (N, channels, H, W) to (N, width, H, W)."""
    start = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
    return nn.Sequential(start, nn.BatchNorm2d(width), nn.PReLU(width))


def body(units: Sequence[int], widths: Sequence[int], *, squeezed: bool = False) -> nn.Sequential:
    """All units in order; every stage halves the sides in its first one."""
    inputs, found = widths[0], []
    for count, width in zip(units, widths, strict=True):
        found += [Unit(inputs, width, 2, squeezed=squeezed)]
        found += [Unit(width, width, 1, squeezed=squeezed) for _ in range(count - 1)]
        inputs = width
    return nn.Sequential(*found)
