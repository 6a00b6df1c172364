"""Noise maps as variables: the n of Eq. 4 and its regulariser (Karras et al. 2020, Appendix D)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from refacer.networks.stylegan2.networks import Generator

REGULARISED_PX = 8  # the regulariser looks at a map down to this side


class NoiseMaps:
    """The noise n of Eq. 4: one map a layer and face, those of one resolution kept together as (N, layers, r, r)."""

    def __init__(self, generator: Generator, sources: list[torch.Generator], device: torch.device):
        self.keys: dict[int, list[str]] = {}
        for key, buffer in generator.synthesis.noise_buffers().items():
            self.keys.setdefault(len(buffer), []).append(key)
        shapes = {side: (len(keys), side, side) for side, keys in self.keys.items()}
        self.maps = {side: draw(sources, shape, device).requires_grad_() for side, shape in shapes.items()}

    def named(self) -> dict[str, Tensor]:
        """The maps under the generator's keys, (N, 1, r, r) each."""
        return {
            key: noise[:, None]
            for side, keys in self.keys.items()
            for key, noise in zip(keys, self.maps[side].unbind(1), strict=True)
        }

    def loss(self) -> Tensor:
        """L_n of Eq. 4, (N,): squared correlation of a map with itself moved by a pixel, at every scale to 8 pixels.

        Maps that were averaged down to one resolution are handled together with those that start there.
        """
        total = pooled = None
        for side in sorted(self.maps, reverse=True):
            maps = self.maps[side]
            if pooled is not None and side >= REGULARISED_PX:
                maps = torch.cat([F.avg_pool2d(pooled, 2), maps], 1)
            pooled = maps
            part = _self_correlation(maps)
            total = part if total is None else total + part
        assert total is not None
        return total

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring every map back to mean 0 and root mean square 1, in place."""
        for noise in self.maps.values():
            noise.sub_(noise.mean((2, 3), keepdim=True))
            noise.mul_(noise.square().mean((2, 3), keepdim=True).rsqrt())


def draw(sources: list[torch.Generator], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """N(0, 1) of `shape`, each face from a generator of its own: (N, *shape) on `device`."""
    return torch.stack([torch.randn(shape, generator=source) for source in sources]).to(device)


def _self_correlation(maps: Tensor) -> Tensor:
    """(N, L, r, r) -> (N,): squared mean product of each map with its neighbour to the left and above, summed."""
    across = (maps * maps.roll(1, 3)).mean((2, 3))
    down = (maps * maps.roll(1, 2)).mean((2, 3))
    return (across.square() + down.square()).sum(1)
