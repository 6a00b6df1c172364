"""Small shifts and scales of the real pictures: what an aligner's own error does to a crop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def jitter(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Shift and scale each of (N, 3, R, R) by up to `amount` of its size; bicubic, reflected at the border."""
    draws = torch.rand(images.shape[0], 3, generator=generator) * 2 - 1
    theta = torch.zeros(images.shape[0], 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 + draws[:, 0] * amount
    theta[:, :, 2] = draws[:, 1:] * (2 * amount)  # the grid spans [-1, 1]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device, non_blocking=True)
    sampled = F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return sampled.clamp(-1, 1)
