"""Networks for the studio table whose answers are known."""

import numpy as np
import torch

from refacer.networks.judge import Judge


class Brightness:
    """Identity and perceptual network in one: a face is its mean brightness."""

    def landmarks(self, face: torch.Tensor) -> None:
        return None

    def describe(self, face: torch.Tensor, own: object, instead: object = ()) -> np.ndarray:
        return np.array([float(face.mean())])

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


class PhotoIfBright(Judge):
    """Calls a face a photograph where it is brighter than mid grey."""

    def forward(self, faces: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return (faces * masks).sum((1, 2, 3))
