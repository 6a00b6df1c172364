"""SDEdit (Meng et al. 2022, arXiv:2108.01073): noise on a face up to a level, then a model of photographs takes it off.

By DDIM's steps (Song et al. 2021, arXiv:2010.02502), which add no noise of their own, so that a seed decides all.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from refacer.device import seeded_generator
from refacer.errors import UsageError
from refacer.images.resampling import resized
from refacer.options import SDEditOptions


class NoisePredictor(Protocol):
    """A model of photographs. Levels count from 1, the least noise.

    side_px: of its pictures; signal: the share of variance that is left at each level (levels,), float64; highest: the
    last level that it has seen; bounded: whether what it works on lies in [-1, 1].
    """

    side_px: int
    signal: Tensor
    highest: int
    bounded: bool

    def encode(self, faces: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] to what noise is put on."""
        ...

    def decode(self, x: Tensor) -> Tensor:
        """The way back."""
        ...

    def noise(self, x: Tensor, level: int) -> Tensor:
        """The noise in x at a level; of x's shape."""
        ...


@torch.no_grad()
def sdedit(face: Tensor, model: NoisePredictor, options: SDEditOptions, seed: int) -> Tensor:
    """A photograph (1, 3, S, S) in [-1, 1], at the model's side, of a face (1, 3, H, H) of any size.

    Raises UsageError for a t0 that the model has not seen.
    """
    levels = visited(options, model)
    start = model.encode(resized(face, model.side_px))
    drawn = torch.randn(start.shape, generator=seeded_generator(seed)).to(start.device)
    share = model.signal.to(torch.float32)
    x = share[levels[0] - 1].sqrt() * start + (1 - share[levels[0] - 1]).sqrt() * drawn
    for level, below in pairwise((*levels, 0)):
        x = _step(x, model, level, float(share[level - 1]), float(share[below - 1]) if below else 1.0)
    return model.decode(x).clamp(-1, 1)


def _step(x: Tensor, model: NoisePredictor, level: int, share: float, below: float) -> Tensor:
    """DDIM's step from one level to a lower one; shares: of variance that is left at both."""
    noise = model.noise(x, level)
    clean = (x - (1 - share) ** 0.5 * noise) / share**0.5
    if model.bounded:
        clean = clean.clamp(-1, 1)
        noise = (x - share**0.5 * clean) / (1 - share) ** 0.5
    return below**0.5 * clean + (1 - below) ** 0.5 * noise


def visited(options: SDEditOptions, model: NoisePredictor) -> Sequence[int]:
    """The levels at which the noise is predicted, from t0 down, evenly: t0 times `steps` of them."""
    levels = len(model.signal)
    first = max(1, int(options.t0 * levels))
    if first > model.highest:
        most = model.highest / levels
        raise UsageError(f"--t0 {options.t0:g}: the model has seen noise up to {most:g} only")
    count = min(first, max(1, int(options.t0 * options.steps)))
    return [first - i * first // count for i in range(count)]
