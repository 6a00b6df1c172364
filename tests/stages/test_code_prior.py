"""The prior of codes: 1 for those of random z, whatever the generator, and larger for what z never makes."""

import torch
from torch.nn import functional as F

from refacer.networks.stylegan2.layers import Linear
from refacer.networks.stylegan2.ops import LRELU_SLOPE
from refacer.options import WStatistics
from refacer.stages.code_prior import FLOOR, code_prior
from tests.tiny import tiny_generator


def test_codes_of_random_z_are_likely_and_far_ones_are_not():
    generator = tiny_generator(frozen=True)
    prior = code_prior(generator, WStatistics())
    codes = generator.mapping(torch.randn(4000, 8, generator=torch.Generator().manual_seed(1)))
    assert 0.8 < float(prior(codes).mean()) < 1.05
    far = codes[:1] + 5 * codes.std()
    assert float(prior(far)) > 5 * float(prior(codes[:1]))
    assert prior(codes[:3]).shape == (3,)


def test_values_before_the_last_activation_are_whitened():
    generator = tiny_generator(frozen=True)
    prior = code_prior(generator, WStatistics(samples=4000))
    last = generator.mapping.get_submodule("fc1")
    assert isinstance(last, Linear)
    values = []
    last.register_forward_hook(lambda _layer, args, _result: values.append(args[0]))
    w = generator.mapping(torch.randn(4000, 8, generator=torch.Generator().manual_seed(1)))[:, 0]
    before = F.linear(values[0], last.weight * last.lr / 8**0.5, last.bias * last.lr)
    torch.testing.assert_close(torch.where(w < 0, w / LRELU_SLOPE, w), before * 2**0.5, rtol=1e-4, atol=1e-4)
    white = (torch.where(w < 0, w / LRELU_SLOPE, w) - prior.mean) @ prior.axes
    covariance = white.T @ white / len(white)
    assert (covariance - torch.diag(covariance.diag())).abs().max() < 0.1
    assert covariance.diag().max() < 1.1


def test_axes_that_random_z_hardly_use_are_dear_but_not_forbidden():
    generator = tiny_generator(frozen=True)
    generator.mapping.get_parameter("fc1.weight")[0] = 0  # w[0] is the same for every z
    prior = code_prior(generator, WStatistics(samples=1000))
    codes = generator.mapping(torch.randn(1, 8))
    moved = codes.clone()
    moved[..., 0] += float(codes.std())
    assert 1 < float(prior(moved) - prior(codes)) < 8 / FLOOR
