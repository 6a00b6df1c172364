import pytest
import torch
from torch import Tensor

from refacer.images.resampling import (
    Sampling,
    filter_along,
    gaussian_taps,
    lanczos_reduce,
    reflect_pad,
    sample_affine,
)

IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def ramp(height: int = 12, width: int = 16) -> Tensor:
    """Values that grow by 1 a column and by 2 a row: (1, 1, H, W)."""
    return (torch.arange(width)[None, :] + 2.0 * torch.arange(height)[:, None])[None, None]


def test_identity_returns_the_image():
    assert torch.allclose(sample_affine(ramp(), IDENTITY, (12, 16), Sampling()), ramp(), atol=1e-4)


@pytest.mark.parametrize("reduce", ["lanczos", "mean"])
@pytest.mark.parametrize("supersample", [1, 2, 3, 4])
def test_a_shift_moves_a_ramp_by_the_fraction_of_a_pixel(reduce, supersample: int):
    shifted = [[1.0, 0.0, 3.25], [0.0, 1.0, 2.5]]
    seen = sample_affine(ramp(), shifted, (6, 8), Sampling(supersample, reduce))
    inner = seen[:, :, 3:-3, 3:-3] if reduce == "lanczos" else seen
    wanted = ramp()[:, :, :6, :8] + 3.25 + 5.0
    assert torch.allclose(inner, wanted[:, :, 3:-3, 3:-3] if reduce == "lanczos" else wanted, atol=1e-3)


def test_bands_do_not_show(monkeypatch):
    image, matrix = torch.rand(1, 3, 20, 30), [[0.7, 0.1, 1.0], [-0.1, 0.7, 3.0]]
    whole = sample_affine(image, matrix, (17, 19), Sampling(3))
    monkeypatch.setattr("refacer.images.resampling.BAND_SAMPLES", 500)
    assert torch.allclose(whole, sample_affine(image, matrix, (17, 19), Sampling(3)), atol=1e-6)


def test_outside_is_zero_or_the_edge():
    image = torch.full((1, 1, 4, 4), 5.0)
    away = [[1.0, 0.0, -10.0], [0.0, 1.0, 0.0]]
    assert sample_affine(image, away, (4, 4), Sampling(outside="zero")).abs().max() == 0
    assert torch.allclose(sample_affine(image, away, (4, 4), Sampling(outside="edge")), image)


@pytest.mark.parametrize("size", [12, 13])
def test_lanczos_keeps_means_and_kills_what_the_small_image_cannot_hold(size: int):
    constant = lanczos_reduce(torch.full((1, 2, 5, size), 0.3), 4, 3)
    assert torch.allclose(constant, torch.full((1, 2, 5, -(-size // 4)), 0.3))
    stripes = torch.tensor([1.0, -1.0]).repeat(32)[None, None, None]
    assert lanczos_reduce(stripes, 4, 3)[..., 3:-3].abs().max() < 0.01


def test_reflection_may_exceed_the_image_as_in_numpy():
    padded = reflect_pad(ramp(2, 3)[:, :, :1], 5, 2, 4, 1)[0, 0]
    assert padded[0].tolist() == [1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0]
    assert torch.equal(padded[0], padded[3])


def test_a_blur_keeps_a_constant_and_has_the_sigma_asked_for():
    taps = gaussian_taps(2.5, 4.0, torch.device("cpu"))
    offsets = torch.arange(len(taps)) - len(taps) // 2
    assert (taps * offsets**2).sum().sqrt().item() == pytest.approx(2.5, rel=0.01)
    assert torch.allclose(filter_along(torch.ones(1, 1, 3, 9), taps, 3, (10, 10)), torch.ones(1, 1, 3, 9))
