"""A small network that takes noise off photographs of faces, and the noise levels that it knows.

Denoising diffusion (Ho et al. 2020, arXiv:2006.11239) with its linear schedule; the network predicts the noise. SDEdit
goes no higher than the level it starts from, so that a network may be trained on the lower levels alone.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.errors import UsageError

TIME_FEATURES = 64  # sines and cosines that tell the level
LONGEST_PERIOD = 10_000.0
GROUPS = 8  # of the normalisations


@dataclass(frozen=True)
class DiffusionConfig:
    """Sizes and noise levels.

    resolution: side of the pictures; widths: channels at that side, at half of it, and so on; attention_px: side from
    which down every place looks at all others; levels: of the schedule, from beta_first to beta_last; trained_levels:
    how many of them, from the least noise on, the network has seen.
    """

    resolution: int = 64
    widths: tuple[int, ...] = (32, 64, 96, 128)
    attention_px: int = 8
    levels: int = 1000
    beta_first: float = 1e-4
    beta_last: float = 0.02
    trained_levels: int = 500

    def to_dict(self) -> dict[str, Any]:
        """The sizes as a file keeps them."""
        return {**asdict(self), "widths": list(self.widths)}

    def __post_init__(self) -> None:
        if self.resolution % 2 ** (len(self.widths) - 1) or any(width % GROUPS for width in self.widths):
            raise UsageError("a denoiser's side must be halved once a width, and its widths be multiples of 8")
        if not 0 < self.trained_levels <= self.levels:
            raise UsageError("a denoiser is trained on some of its levels")

    def signal(self) -> Tensor:
        """The share of a picture's variance that is left at each level (levels,): alpha-bar, float64."""
        betas = torch.linspace(self.beta_first, self.beta_last, self.levels, dtype=torch.float64)
        return (1 - betas).cumprod(0)


class Denoiser(nn.Module):
    """Noisy pictures (N, 3, S, S) and their levels (N,) to the noise in them (N, 3, S, S).

    A `NoisePredictor` of refacer/stages/sdedit.py, which works on the pictures themselves.
    """

    bounded = True

    def __init__(self, config: DiffusionConfig = DiffusionConfig()) -> None:
        super().__init__()
        self.config = config
        self.side_px, self.highest, self.signal = config.resolution, config.trained_levels, config.signal()
        widths, side = config.widths, config.resolution
        features = 4 * widths[0]
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, features), nn.SiLU(), nn.Linear(features, features))
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        sides = [side >> level for level in range(len(widths))]
        self.down = nn.ModuleList(
            _Level(width_in, width, features, attends=side <= config.attention_px)
            for width_in, width, side in zip((widths[0], *widths[:-1]), widths, sides, strict=True)
        )
        self.middle = _Level(widths[-1], widths[-1], features, attends=True)
        self.up = nn.ModuleList(
            _Level(above + width, width, features, attends=side <= config.attention_px)
            for above, width, side in zip((widths[-1], *widths[:0:-1]), widths[::-1], sides[::-1], strict=True)
        )
        self.last = nn.Sequential(_norm(widths[0]), nn.SiLU(), _silent(nn.Conv2d(widths[0], 3, 3, padding=1)))

    def forward(self, noisy: Tensor, levels: Tensor) -> Tensor:
        """Predict the noise."""
        time = self.time(_waves(levels.to(noisy.dtype)))
        x = self.first(noisy)
        kept: list[Tensor] = []
        for i, level in enumerate(self.down):
            x = level(F.avg_pool2d(x, 2) if i else x, time)
            kept.append(x)
        x = self.middle(x, time)
        for i, (level, below) in enumerate(zip(self.up, reversed(kept), strict=True)):
            x = level(torch.cat([F.interpolate(x, scale_factor=2.0) if i else x, below], 1), time)
        return self.last(x)

    def noise(self, x: Tensor, level: int) -> Tensor:
        """The noise in pictures (N, 3, S, S) of one level."""
        return self(x, torch.full((len(x),), level, device=x.device))

    def encode(self, faces: Tensor) -> Tensor:
        """They are themselves."""
        return faces

    def decode(self, x: Tensor) -> Tensor:
        """They are themselves."""
        return x


class _Level(nn.Module):
    """A residual block, which knows the noise level, and perhaps attention."""

    def __init__(self, inputs: int, outputs: int, features: int, *, attends: bool) -> None:
        super().__init__()
        self.before = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.time = nn.Linear(features, 2 * outputs)
        self.norm = _norm(outputs)
        self.after = nn.Sequential(nn.SiLU(), _silent(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = _Attention(outputs) if attends else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(N, I, H, W) and (N, F) to (N, O, H, W)."""
        gain, shift = self.time(F.silu(time))[..., None, None].chunk(2, 1)
        inner = self.norm(self.before(x)) * (1 + gain) + shift
        return self.attention(self.skip(x) + self.after(inner))


class _Attention(nn.Module):
    """Every place looks at all others."""

    HEAD = 32  # channels of a head

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // self.HEAD)
        self.norm = _norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = _silent(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w).transpose(3, 4)
        seen = F.scaled_dot_product_attention(*parts.unbind(1))
        return x + self.out(seen.transpose(2, 3).reshape(n, c, h, w))


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that says nothing at first, so that a block starts as if it were not there."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width)


def _waves(levels: Tensor) -> Tensor:
    """Levels (N,) as sines and cosines (N, TIME_FEATURES)."""
    half = TIME_FEATURES // 2
    rates = torch.exp(torch.arange(half, device=levels.device) * (-math.log(LONGEST_PERIOD) / half))
    angles = levels[:, None] * rates.to(levels.dtype)
    return torch.cat([angles.cos(), angles.sin()], 1)
