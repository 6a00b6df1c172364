"""What the studio benchmark measures on aligned faces: dlib identity, perceptual distance, L2, colour, sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refacer.images.pixels import rgb_from_tensor
from refacer.networks.parser import CLASS_IDS
from refacer.networks.perceptual import Perceptual, distance
from refacer.options import PASTED_CLASSES, FinetuneOptions
from refacer.training.losses import blur
from refacer.types import Points
from refacer.weights.published import load_dlib_identity
from tools.studio.parser_data import portrait_landmarks


class Identity:
    """dlib's 128 numbers of a face, and what it needs to find it.

    fallbacks: how often a face was not found and another picture's landmarks were used.
    """

    def __init__(self) -> None:
        self._network = load_dlib_identity(torch.device("cpu"))
        self.fallbacks = 0

    def landmarks(self, face: Tensor) -> Points | None:
        """68 points of the one face that an aligned picture (1, 3, S, S) is of, or None."""
        return portrait_landmarks(rgb_from_tensor(face), self._network.finder)

    def describe(
        self, face: Tensor, own: Points | None, instead: Sequence[Points | None] = ()
    ) -> NDArray[np.float64] | None:
        """The descriptor (128,) of (1, 3, S, S) by its own landmarks, else by the first of `instead` that is there."""
        points = own or next((other for other in instead if other), None)
        if points is None:
            return None
        self.fallbacks += own is None
        return self._network.describe(face, points)


def identity_distance(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float:
    """dlib's identity distance, NaN where a face was not found; below 0.6 is one person by dlib's usual threshold."""
    return float("nan") if a is None or b is None else float(np.linalg.norm(a - b))


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


def sharpness(image: Tensor, mask: Tensor) -> float:
    """Mean |Laplacian| of the grey picture (1, 3, S, S) inside the mask (1, 1, S, S), in levels of 255."""
    grey = F.pad(image.mean(1, keepdim=True) * 127.5, (1, 1, 1, 1), mode="replicate")
    kernel = image.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float((F.conv2d(grey, kernel).abs() * mask).sum() / mask.sum().clamp(min=1))
