"""Networks whose features FID and KID compare: the published Inception, and a stand-in whose numbers are its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from refacer.images.pixels import scale_to_unit
from refacer.images.resampling import resized
from refacer.networks.efficientnet import EfficientNetFeatures

STAND_IN_PX = 256


class FeatureNetwork(Protocol):
    """Features whose distribution is compared. suffix: of the measures' names, empty for Inception."""

    suffix: str
    about: str

    def features(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, D) float32 on the CPU."""
        ...


class InceptionFeatures:
    """The 2048 pooled features of FID's Inception, by torch-fidelity, from an installed state."""

    suffix, about = "", "Inception (2015-12-05) by torch-fidelity"

    def __init__(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # type: ignore[import]

        with tempfile.TemporaryDirectory() as folder:  # it reads nothing but a file of its own kind
            path = os.path.join(folder, "inception.pth")
            torch.save(dict(state), path)
            self._network: Any = FeatureExtractorInceptionV3("inception", ["2048"], path).to(device)
        self._device = device

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """As FeatureNetwork; any size, resized as TensorFlow 1 does."""
        return self._network(pictures.to(self._device))[0].float().cpu()


class EfficientNetPooled:
    """A stand-in: the mean activations of EfficientNet-Lite0's four taps, 192 numbers, at 256 pixels."""

    suffix, about = "_efficientnet_lite0", "EfficientNet-Lite0, pooled taps: a stand-in, not comparable with FID"

    def __init__(self, network: EfficientNetFeatures, device: torch.device) -> None:
        self._network, self._device = network.to(device), device

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """As FeatureNetwork; any size."""
        images = resized(scale_to_unit(pictures.to(self._device)), STAND_IN_PX)
        return torch.cat([tap.mean((2, 3)) for tap in self._network.taps(images)], 1).float().cpu()
