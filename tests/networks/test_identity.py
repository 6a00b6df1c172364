"""dlib's identity distance on two aligned faces."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from refacer.files import read_source
from refacer.networks.identity import SAME_PERSON, DlibIdentity
from refacer.pixels import tensor_from_rgb
from refacer.weights.dlib_files import landmarks_path, recognition_path

FACES = Path(__file__).parents[1] / "data/align"


@pytest.fixture(scope="module")
def identity() -> DlibIdentity:
    return DlibIdentity(landmarks_path(), recognition_path())


def test_one_person_is_near_and_another_is_far(identity):
    face, other = (tensor_from_rgb(read_source(FACES / f"aligned_{i}_256.png", max_pixels=2**16).rgb) for i in range(2))
    same = identity.compare(face, face)
    resized = identity.compare(face, F.interpolate(face, size=(200, 200), mode="area"))
    assert same == 0
    assert resized is not None
    assert 0 < resized < SAME_PERSON
    different = identity.compare(face, other)
    assert different is None or different > resized
    assert identity.compare(face, torch.zeros_like(face)) is None
