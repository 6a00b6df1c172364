"""dlib's files inside the installed `face_recognition_models`, verified.

That package's own loader needs `pkg_resources`, which new setuptools no longer has.
"""

from __future__ import annotations

from pathlib import Path

from refacer.weights import registry
from refacer.weights.packages import verified_package_path


def landmarks_path() -> Path:
    """dlib's 68-point shape predictor; raises WeightsMissing or InputRefused."""
    return verified_package_path(registry.weight("dlib-landmarks"))


def recognition_path() -> Path:
    """dlib's network of 128 numbers a face; raises WeightsMissing or InputRefused."""
    return verified_package_path(registry.weight("dlib-recognition"))
