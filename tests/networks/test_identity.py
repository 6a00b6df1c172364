"""Identity on two aligned faces: dlib's distance and CurricularFace's similarity."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.files import read_source
from refacer.images.pixels import tensor_from_rgb
from refacer.networks.curricular_face import CurricularFace
from refacer.networks.identity import SAME_PERSON, CurricularFaceIdentity, DlibIdentity, central_face
from refacer.weights.published import load_dlib_identity

FACES = Path(__file__).parents[1] / "data/align"


@pytest.fixture(scope="module")
def identity() -> DlibIdentity:
    return load_dlib_identity(torch.device("cpu"))


@pytest.fixture(scope="module")
def faces() -> list[Tensor]:
    return [tensor_from_rgb(read_source(FACES / f"aligned_{i}_256.png", max_pixels=2**16).rgb) for i in range(2)]


def test_one_person_is_near_and_another_is_far(identity, faces):
    face, other = faces
    same = identity.compare(face, face)
    resized = identity.compare(face, F.interpolate(face, size=(200, 200), mode="area"))
    assert same == 0
    assert resized is not None
    assert 0 < resized < SAME_PERSON
    different = identity.compare(face, other)
    assert different is None or different > resized
    assert identity.compare(face, torch.zeros_like(face)) is None


def test_curricular_face_is_one_for_the_same_face_alone(identity, faces):
    """With random weights: the alignment undoes where a face lies, and nothing undoes what it shows."""
    torch.manual_seed(0)
    measure = CurricularFaceIdentity(identity.finder, CurricularFace((1, 1, 1, 1), (4, 4, 8, 8)).eval())
    face = faces[0]
    same, moved, inverted = (measure.compare(face, b) for b in (face, F.pad(face, (20, 0, 10, 0)), -face))
    assert same == pytest.approx(1, abs=1e-5)
    assert moved is not None
    assert moved > 0.98
    assert inverted is None or inverted < moved
    assert measure.compare(face, torch.zeros_like(face)) is None


def test_the_face_in_the_middle_is_meant():
    corner, middle = (tuple((x + shift, shift) for x in range(68)) for shift in (0, 30))
    image = torch.zeros(1, 3, 128, 128)
    assert central_face(lambda *_: [corner, middle], image) == middle
    assert central_face(lambda *_: [], image) is None
