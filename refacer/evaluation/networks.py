"""Which networks `refacer eval` measures with: the published ones where they are installed, stand-ins that say so else.

No stand-in's number bears a published metric's name.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from typing import Any, Protocol

import torch
from torch import Tensor

from refacer.equipment import Equipment
from refacer.images.pixels import scale_to_unit
from refacer.images.resampling import resized
from refacer.networks.identity import IdentityNetwork
from refacer.networks.perceptual import Perceptual
from refacer.weights import cache, published, terms
from refacer.weights.efficientnet_file import EFFICIENTNET, load_efficientnet_features
from refacer.weights.loaders import read_network

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

    def __init__(self, state: dict[str, Tensor], device: torch.device) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # type: ignore[import]

        with tempfile.TemporaryDirectory() as folder:  # it reads nothing but a file of its own kind
            path = os.path.join(folder, "inception.pth")
            torch.save(state, path)
            self._network: Any = FeatureExtractorInceptionV3("inception", ["2048"], path).to(device)
        self._device = device

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """As FeatureNetwork; any size, resized as TensorFlow 1 does."""
        return self._network(pictures.to(self._device))[0].float().cpu()


class EfficientNetPooled:
    """A stand-in: the mean activations of EfficientNet-Lite0's four taps, 192 numbers, at 256 pixels."""

    suffix, about = "_efficientnet_lite0", "EfficientNet-Lite0, pooled taps: a stand-in, not comparable with FID"

    def __init__(self, device: torch.device) -> None:
        self._network, self._device = load_efficientnet_features().to(device), device

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """As FeatureNetwork; any size."""
        images = resized(scale_to_unit(pictures.to(self._device)), STAND_IN_PX)
        return torch.cat([tap.mean((2, 3)) for tap in self._network.taps(images)], 1).float().cpu()


def feature_network(equipment: Equipment) -> FeatureNetwork:
    """Inception where torch-fidelity and `refacer weights pull inception` are there, or the stand-in."""
    found = cache.installed("inception")
    if found is None or importlib.util.find_spec("torch_fidelity") is None:
        equipment.note(terms.of_weight("features", EFFICIENTNET))
        return EfficientNetPooled(equipment.device)
    equipment.note(terms.of_weight("features", "inception"))
    state, _ = read_network(found.path(published.NETWORK_FILE), "inception")
    return InceptionFeatures(state, equipment.device)


def identity_network(equipment: Equipment) -> IdentityNetwork:
    """CurricularFace where `refacer weights` has it, or dlib's network; both read dlib's landmarks."""
    finder = equipment.detector
    equipment.note(terms.of_weight("identity", published.identity_weight()))
    return published.identity_network(finder, equipment.device)


def perceptual_network(equipment: Equipment) -> tuple[Perceptual, str]:
    """The distance of any two pictures, without a closer look at aligned faces, and what it is called.

    It is called LPIPS only where it is LPIPS.
    """
    choice, pair = equipment.choices.perceptual, equipment.pair
    if terms.perceptual_weight(choice):
        return equipment.perceptual, "lpips_vgg"
    equipment.note(*terms.of_perceptual(choice, pair))
    stand_in = pair.facts.get("perceptual", {}).get("network", "discriminator")
    return pair.whole_perceptual(equipment.device), "perceptual_" + str(stand_in).replace("-", "_")
