"""Measures of two aligned faces inside a region of them, so that the background does not count."""

from __future__ import annotations

import torch
from torch import Tensor

from refacer.networks.parser import CLASS_IDS
from refacer.networks.perceptual import Perceptual, distance
from refacer.options import PASTED_CLASSES, FinetuneOptions
from refacer.training.losses import blur


def pasted_region(labels: Tensor) -> Tensor:
    """uint8 class ids (N, S, S) -> float (N, 1, S, S): 1 where a label is of the parts that are pasted."""
    ids = [identity for name in PASTED_CLASSES for identity in CLASS_IDS[name]]
    return torch.isin(labels, torch.tensor(ids, dtype=labels.dtype, device=labels.device))[:, None].float()


def perceptual_distance(a: Tensor, b: Tensor, region: Tensor, network: Perceptual) -> float:
    """Perceptual distance of two pictures (1, 3, S, S) that are grey outside the region."""
    with torch.no_grad():
        return float(distance(network.features(a * region), network.features(b * region))[0])


def squared_difference(a: Tensor, b: Tensor, region: Tensor) -> float:
    """L2: the mean square of a - b inside the region, of values in [-1, 1]."""
    return float(((a - b).square() * region).sum() / (region.sum() * a.shape[1]).clamp(min=1))


def blurred_color(image: Tensor, region: Tensor) -> Tensor:
    """B of Eq. 2 over the region alone, so that the background's colour does not leak in; 0 outside."""
    options = FinetuneOptions()
    weight = blur(region, options)
    return blur(image * region, options) / weight.clamp(min=1e-3) * region


def color_difference(a: Tensor, b: Tensor, region: Tensor) -> float:
    """L2 of the blurred colour."""
    return squared_difference(blurred_color(a, region), blurred_color(b, region), region)
