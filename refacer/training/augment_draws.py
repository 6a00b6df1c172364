"""What ADA draws for each image, and how uniform numbers become amounts (Karras et al. 2020, Appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Every draw in the order of its column: what decides it, and the size of its distribution (Appendix B).
DISCRETE = (("xflip", 2), ("rotate90", 4), ("lumaflip", 2))  # floor(size u)
UNIFORM = (
    ("xint", 0.125), ("xint", 0.125),  # x, y as fractions of the side
    ("rotate", math.pi), ("rotate_again", math.pi), ("hue", math.pi),  # radians
)  # fmt: skip
NORMAL = (
    ("scale", 0.2), ("aniso", 0.2),  # log2
    ("xfrac", 0.125), ("xfrac", 0.125),  # x, y as fractions of the side
    ("brightness", 0.2),  # of the range [-1, 1]
    ("contrast", 0.5), ("saturation", 1.0),  # log2
)  # fmt: skip
DRAWS = DISCRETE + UNIFORM + NORMAL
GEOMETRY = ("xflip", "rotate90", "xint", "scale", "rotate", "rotate_again", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
GATES = GEOMETRY + COLOR
SMALLEST_UNIFORM = 2.0**-24  # torch.rand's grid; keeps the normal quantile of 0 finite


def amounts_of(quantiles: Tensor, sizes: Tensor, normal_gain: float = math.sqrt(2)) -> Tensor:
    """Turn (N, 15) uniform numbers into draws of DISCRETE, UNIFORM and NORMAL by their quantile functions."""
    counted, even, normal = quantiles.split((len(DISCRETE), len(UNIFORM), len(NORMAL)), dim=1)
    spread = normal.clamp(min=SMALLEST_UNIFORM).mul(2).sub(1).erfinv() * normal_gain
    whole = (counted * sizes[: len(DISCRETE)]).floor()
    return torch.cat((whole, torch.cat((even * 2 - 1, spread), 1) * sizes[len(DISCRETE) :]), 1)


def published_percentile(like: Tensor, sizes: Tensor, percentile: float) -> Tensor:
    """(N, 15) amounts as the published `debug_percentile` sets them, its two liberties included (see forward)."""
    amounts = amounts_of(torch.full_like(like, percentile), sizes, normal_gain=1.0)
    amounts[:, [gate for gate, _ in DRAWS].index("rotate_again")] = 0.0
    return amounts


def by_gate(amounts: Tensor) -> dict[str, Tensor]:
    """Split (N, 15) amounts by gate: (N,), or (N, 2) for the shifts in x and y."""
    columns: dict[str, list[int]] = {}
    for column, (gate, _) in enumerate(DRAWS):
        columns.setdefault(gate, []).append(column)
    return {gate: amounts[:, c[0]] if len(c) == 1 else amounts[:, c[0] : c[0] + 2] for gate, c in columns.items()}
