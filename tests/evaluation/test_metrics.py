"""Distances between sets against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from refacer.errors import UsageError
from refacer.evaluation.metrics import Gaussian, frechet_distance, gaussian_of, kernel_distance


def normal(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(mean: list[float], covariance: list[list[float]]) -> Gaussian:
    return Gaussian(torch.tensor(mean, dtype=torch.float64), torch.tensor(covariance, dtype=torch.float64))


def with_moments(count: int, mean: Tensor, covariance: Tensor) -> Tensor:
    """Samples whose own mean and unbiased covariance are exactly these."""
    samples = normal(count, len(mean))
    white = torch.linalg.qr(samples - samples.mean(0)).Q * math.sqrt(count - 1)
    return white @ torch.linalg.cholesky(covariance).T + mean


def test_a_gaussian_has_the_moments_of_its_samples():
    mean, covariance = torch.tensor([1.0, -2.0]).double(), torch.tensor([[2.0, 0.6], [0.6, 1.0]]).double()
    found = gaussian_of(with_moments(50, mean, covariance))
    torch.testing.assert_close(found.mean, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.covariance, covariance, rtol=0, atol=1e-12)


def test_equal_sets_are_at_distance_zero():
    features = normal(300, 8)
    assert frechet_distance(gaussian_of(features), gaussian_of(features.flip(0))) == pytest.approx(0, abs=1e-10)


def test_a_shift_counts_squared():
    features = normal(200, 5)
    shifted = features + torch.tensor([1.0, 2.0, 0.0, 0.0, -2.0])
    assert frechet_distance(gaussian_of(features), gaussian_of(shifted)) == pytest.approx(9, rel=1e-10)


def test_covariances_with_common_axes():
    """tr of the roots: the sum of (sqrt a - sqrt b)^2."""
    axes = torch.linalg.qr(normal(3, 3)).Q
    first, second = (Gaussian(torch.zeros(3).double(), axes @ torch.diag(torch.tensor(v).double()) @ axes.T)
                     for v in ([1.0, 4.0, 9.0], [4.0, 4.0, 0.25]))  # fmt: skip
    assert frechet_distance(first, second) == pytest.approx(1 + 0 + 2.5**2, rel=1e-10)


def test_covariances_without_common_axes():
    """Of a 2x2 matrix M with positive eigenvalues tr sqrt(M) = sqrt(tr M + 2 sqrt(det M))."""
    a, b = [[2.0, 0.9], [0.9, 1.0]], [[1.0, -0.7], [-0.7, 3.0]]
    product = gaussian([], a).covariance @ gaussian([], b).covariance
    root = math.sqrt(float(product.trace()) + 2 * math.sqrt(float(torch.linalg.det(product))))
    expected = 0.5**2 + 3 + 4 - 2 * root
    first, second = gaussian([0, 0], a), gaussian([0, 0.5], b)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-12)


def test_singular_covariances_do_no_harm():
    few, many = normal(5, 40), normal(6, 40, seed=1)
    value = frechet_distance(gaussian_of(few), gaussian_of(many))
    assert value == pytest.approx(frechet_distance(gaussian_of(many), gaussian_of(few)), rel=1e-9)
    assert value > 0
    assert frechet_distance(gaussian_of(few), gaussian_of(few)) == pytest.approx(0, abs=1e-10)
    zero = gaussian([0, 0], [[0, 0], [0, 0]])
    assert frechet_distance(zero, gaussian([0, 0], [[2, 1], [1, 3]])) == pytest.approx(5)


def test_float32_features_with_a_large_mean_keep_their_digits():
    features = (normal(500, 4) * 0.01 + 100).float()
    double = features.double()
    shifted = gaussian_of(double + 0.02)
    assert frechet_distance(gaussian_of(features), shifted) == pytest.approx(4 * 0.02**2, rel=1e-9)


def test_the_kernel_distance_is_that_of_the_moments():
    """In one dimension (xy + 1)^3 compares three moments: 3 d1^2 + 3 d2^2 + d3^2, here of N(0, 1) and N(1, 1)."""
    a, b = normal(20_000, 1), normal(20_000, 1, seed=1) + 1
    moments = [float((b**k).mean() - (a**k).mean()) for k in (1, 2, 3)]
    expected = 3 * moments[0] ** 2 + 3 * moments[1] ** 2 + moments[2] ** 2
    mean, deviation = kernel_distance(a, b, subsets=50, size=1000)
    assert expected == pytest.approx(3 + 3 + 16, rel=0.1)
    assert mean == pytest.approx(expected, abs=4 * deviation / math.sqrt(50))


def test_the_kernel_distance_of_one_distribution_is_zero_on_average():
    """Unbiased: with the diagonal it would be about 2 E[k(x, x)] / 20, far from 0."""
    values = torch.tensor([kernel_distance(normal(20, 6, s), normal(20, 6, 1000 + s))[0] for s in range(400)])
    standard_error = float(values.std() / 20)
    assert abs(float(values.mean())) < 4 * standard_error < 0.1
    assert (values < 0).any()


def test_the_kernel_distance_by_hand():
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [0.0]])
    own = 1 + 1  # k(0, 1) and k(2, 0)
    crossed = (1 + 1 + 27 + 1) / 4
    assert kernel_distance(a, b) == (pytest.approx(own - 2 * crossed), 0)


def test_subsets_depend_on_the_seed_alone():
    a, b = normal(50, 3), normal(60, 3, seed=1) + 0.2
    assert kernel_distance(a, b, size=20, seed=3) == kernel_distance(a, b, size=20, seed=3)
    assert kernel_distance(a, b, size=20, seed=3) != kernel_distance(a, b, size=20, seed=4)


def test_one_picture_is_no_set():
    with pytest.raises(UsageError, match="two pictures"):
        gaussian_of(torch.zeros(1, 3))
    with pytest.raises(UsageError, match="two pictures"):
        kernel_distance(torch.zeros(1, 3), torch.zeros(5, 3))
