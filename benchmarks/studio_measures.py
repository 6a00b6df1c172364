"""What the studio benchmark measures beside refacer/evaluation/faces.py: dlib identity, sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refacer.images.pixels import rgb_from_tensor
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


def sharpness(image: Tensor, mask: Tensor) -> float:
    """Mean |Laplacian| of the grey picture (1, 3, S, S) inside the mask (1, 1, S, S), in levels of 255."""
    grey = F.pad(image.mean(1, keepdim=True) * 127.5, (1, 1, 1, 1), mode="replicate")
    kernel = image.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float((F.conv2d(grey, kernel).abs() * mask).sum() / mask.sum().clamp(min=1))
