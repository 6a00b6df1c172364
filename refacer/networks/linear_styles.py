"""A face's code by a linear map of what a network trained on ImageNet sees in it.

Features that tell how alike two pictures look are nearly linear in the codes of W+. A map from them to a code is soon
learned, by a few thousand pictures where a trunk of its own needs a hundred thousand. Regression from features to
parameters is the first step of supervised descent (Xiong & De la Torre 2013).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.images.resampling import resized
from refacer.networks.efficientnet import LEAST_PX, TAP_WIDTHS, LookingThrough
from refacer.networks.perceptual import beside_parts, fitted, parts, unit_length
from refacer.options import PART_CENTRES

WHOLE_SIDE, PART_SIDE = 8, 4
"""Features of the face, and of its eyes and mouth, are averaged down to grids of so many cells a side."""

PARTS_SHARE = 0.3  # of the squared distance that eyes and mouth are
LEAST_VARIANCE = 1e-10  # what varies less is hardly seen, and would be blown up


class LinearStyles(LookingThrough, nn.Module):
    """Faces (N, 3, P, P) in [-1, 1] to offsets from the average code.

    width: directions of the features that are kept.
    """

    center: Tensor

    def __init__(self, num_ws: int, w_dim: int, input_px: int, width: int) -> None:
        super().__init__()
        self.num_ws, self.w_dim, self.width = num_ws, w_dim, width
        self.whole_px, self.part_px = max(LEAST_PX, input_px // 2), max(LEAST_PX, input_px // 4)
        count = _count(self.whole_px, WHOLE_SIDE) + len(PART_CENTRES) * _count(self.part_px, PART_SIDE)
        self.register_buffer("center", torch.zeros(count))
        self.kept = nn.Linear(count, width, bias=False)
        self.styles = nn.Linear(width, num_ws * w_dim)

    def silence(self) -> None:
        """Make every answer 0."""
        nn.init.zeros_(self.styles.weight)
        nn.init.zeros_(self.styles.bias)

    @torch.no_grad()
    def turn(self, features: Tensor) -> None:
        """Keep the principal axes of features (M, F), M > width, each to its deviation.

        Adam gives every number a rate of its own, which is only fair where the numbers it meets are alike.
        """
        self.center.copy_(features.mean(0))
        apart = (features - self.center).double()
        values, vectors = torch.linalg.eigh(apart @ apart.T)
        values, vectors = values[-self.width :].clamp(min=LEAST_VARIANCE), vectors[:, -self.width :]
        self.kept.weight.copy_(((vectors / values) * len(features) ** 0.5).T @ apart)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, P, P) to (N, num_ws, w_dim)."""
        seen = self.kept(self.features(images) - self.center)
        return self.styles(seen).unflatten(1, (self.num_ws, self.w_dim))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What the trunk sees of the face, and of its eyes and mouth enlarged, coarse: (N, F) float32."""
        whole = _coarse(self.taps(fitted(images, LEAST_PX, self.whole_px)), WHOLE_SIDE)
        seen = _coarse(self.taps(resized(parts(images), self.part_px)), PART_SIDE)
        return beside_parts(whole, seen, PARTS_SHARE)


def _count(side_px: int, most: int) -> int:
    """Values that `_coarse` gives of a picture."""
    return sum(width * min(most, side_px // scale) ** 2 for width, scale in TAP_WIDTHS)


def _coarse(taps: list[Tensor], most: int) -> Tensor:
    """Taps with every pixel of length 1, averaged down to at most `most` cells a side; all weigh the same."""
    found = []
    for tap in taps:
        coarse = F.avg_pool2d(unit_length(tap.float()), max(1, tap.shape[-1] // most))
        found.append(coarse.flatten(1) / coarse.shape[-1])
    return torch.cat(found, 1)
