"""dlib's score of aligned faces."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refacer.datasets.face_score import LEAST_SCORE, FaceScore
from refacer.files import read_source
from refacer.images.pixels import tensor_from_rgb

FACES = Path(__file__).parents[1] / "data/align"


@pytest.fixture(scope="module")
def score() -> FaceScore:
    return FaceScore()


@pytest.mark.parametrize("name", ["aligned_0_256.png", "aligned_0_1024.jpg"])
def test_a_clear_face_scores_high(score, name):
    face = tensor_from_rgb(read_source(FACES / name, max_pixels=2**21).rgb)
    assert score(face) > 0.5
    assert score(face.flip(2)) < 0.2, "upside down"
    covered = face.clone()
    covered[..., : face.shape[3] // 2] = 0
    assert score(covered) < 0.2


def test_a_face_with_one_eye_covered_scores_low(score):
    face = tensor_from_rgb(read_source(FACES / "aligned_1_256.png", max_pixels=2**21).rgb)
    assert LEAST_SCORE < score(face) < 0.2


def test_a_face_elsewhere_is_not_the_one(score):
    face = tensor_from_rgb(read_source(FACES / "aligned_0_256.png", max_pixels=2**21).rgb)
    corner = torch.zeros(1, 3, 512, 512)
    corner[..., :256, :256] = face
    assert score(corner) == LEAST_SCORE


def test_no_face(score):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert score(tensor_from_rgb(noise)) == LEAST_SCORE
