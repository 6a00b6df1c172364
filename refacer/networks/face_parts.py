"""Eyes and mouth of aligned faces, and a perceptual network that looks at them once more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refacer.images.resampling import resized
from refacer.networks.perceptual import Perceptual
from refacer.options import PART_CENTRES, PART_FRAC


class WithParts(nn.Module):
    """A perceptual distance that is a face's and that of its eyes and mouth, enlarged: (1 - weight) to weight.

    A person is told from a few per cent of a face's pixels, which a distance over all of it hardly counts.
    side_px: at which `network` sees each part.
    """

    def __init__(self, network: Perceptual, side_px: int, weight: float) -> None:
        super().__init__()
        self.network = network  # a module is registered, and moves along
        self.side_px, self.weight = side_px, weight

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1], aligned as FFHQ's -> (N, F) float32."""
        whole = self.network.features(images)
        seen = self.network.features(resized(parts(images), self.side_px))
        seen = torch.cat(seen.chunk(len(PART_CENTRES)), 1)
        share = self.weight / len(PART_CENTRES)
        return torch.cat([whole * (1 - self.weight) ** 0.5, seen * share**0.5], 1)


def parts(images: Tensor) -> Tensor:
    """Squares about both eyes and the mouth of aligned faces: (N, C, R, R) -> (3 N, C, R / 4, R / 4), eyes first."""
    size = images.shape[-1]
    side = int(PART_FRAC * size)
    corners = [(round(y * size) - side // 2, round(x * size) - side // 2) for x, y in PART_CENTRES]
    return torch.cat([images[..., top : top + side, left : left + side] for top, left in corners])
