"""Blur, perceptual hashes and dlib's score of aligned faces, on two true portraits and on noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.datasets.measures import HASH_BITS, LEAST_SCORE, FaceScore, blur_of, perceptual_hash
from refacer.files import read_source
from refacer.images.pixels import tensor_from_rgb

FACES = [Path(__file__).parents[1] / "data/align" / f"aligned_{i}_256.png" for i in range(2)]
NEAR_BITS, LEAST_BLURRED = 24, 0.62  # the defaults of `refacer dataset`


@pytest.fixture(scope="module", params=FACES, ids=lambda path: path.stem)
def portrait(request) -> Tensor:
    return tensor_from_rgb(read_source(request.param, max_pixels=10**6).rgb)


def smoothed(image: Tensor, sigma: float) -> Tensor:
    radius = round(3 * sigma)
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    taps = torch.exp(-0.5 * (x / sigma) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, taps, groups=3), taps.transpose(2, 3), groups=3)


def differing(a: Tensor, b: Tensor) -> int:
    return int(np.bitwise_count(perceptual_hash(a) ^ perceptual_hash(b)).sum())


def test_blur_grows_with_the_blur(portrait):
    values = [blur_of(portrait), *(blur_of(smoothed(portrait, sigma)) for sigma in (1, 2, 4))]
    assert values == sorted(values)
    assert values[0] < LEAST_BLURRED < values[2]


def test_blur_does_not_depend_on_contrast_or_direction(portrait):
    expected = blur_of(portrait)
    assert blur_of(portrait * 0.3 + 0.2) == pytest.approx(expected, abs=1e-4)
    assert blur_of(portrait.transpose(2, 3)) == pytest.approx(expected, abs=1e-6)


def test_blur_is_judged_at_one_size(portrait):
    large = portrait.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert blur_of(large) == pytest.approx(blur_of(portrait), abs=1e-5)


def test_a_plain_picture_is_blurred():
    assert blur_of(torch.zeros(1, 3, 64, 64)) == 1


def test_a_blurred_background_does_not_count(portrait):
    framed = smoothed(portrait, 4)
    framed[..., 40:216, 40:216] = portrait[..., 40:216, 40:216]
    assert blur_of(framed) < LEAST_BLURRED < blur_of(smoothed(portrait, 4))


def test_a_hash_survives_what_leaves_the_picture_alike(portrait):
    assert perceptual_hash(portrait).size * 8 == HASH_BITS
    for changed in (
        portrait * 0.8 + 0.1,
        smoothed(portrait, 1),
        F.avg_pool2d(portrait, 2),
        F.interpolate(portrait[..., 1:-1, 1:-1], size=(256, 256), mode="bilinear"),
    ):
        assert differing(portrait, changed) <= NEAR_BITS


def test_hashes_of_different_pictures_are_far_apart(portrait):
    first, second = (tensor_from_rgb(read_source(path, max_pixels=10**6).rgb) for path in FACES)
    assert differing(first, second) > 2 * NEAR_BITS
    assert differing(portrait, portrait.flip(3)) > NEAR_BITS
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert differing(portrait, noise) == pytest.approx(HASH_BITS / 2, abs=48)


@pytest.fixture(scope="module")
def score() -> FaceScore:
    return FaceScore()


@pytest.mark.parametrize("name", ["aligned_0_256.png", "aligned_0_1024.jpg"])
def test_a_clear_face_scores_high(score, name):
    face = tensor_from_rgb(read_source(FACES[0].parent / name, max_pixels=2**21).rgb)
    assert score(face) > 0.5
    assert score(face.flip(2)) < 0.2, "upside down"
    covered = face.clone()
    covered[..., : face.shape[3] // 2] = 0
    assert score(covered) < 0.2


def test_a_face_with_one_eye_covered_scores_low(score):
    face = tensor_from_rgb(read_source(FACES[1], max_pixels=2**21).rgb)
    assert LEAST_SCORE < score(face) < 0.2


def test_a_face_elsewhere_is_not_the_one(score):
    face = tensor_from_rgb(read_source(FACES[0], max_pixels=2**21).rgb)
    corner = torch.zeros(1, 3, 512, 512)
    corner[..., :256, :256] = face
    assert score(corner) == LEAST_SCORE


def test_no_face(score):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert score(tensor_from_rgb(noise)) == LEAST_SCORE
