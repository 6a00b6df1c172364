import pytest
import torch
import torch.nn.functional as F

from refacer.networks.stylegan2.ops import (
    bias_act,
    conv2d_down,
    conv2d_up,
    downsample2d,
    filter2d,
    fold_filter,
    minibatch_stddev,
    modulated_conv2d,
    setup_filter,
    upsample2d,
)

FIR = setup_filter()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def zeros_between(x):
    y = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    y[:, :, ::2, ::2] = x
    return y


def test_filter_is_normalised_outer_product():
    assert FIR.shape == (4, 4)
    torch.testing.assert_close(FIR * 64, torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])))


def test_filter2d_is_a_true_convolution():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    kernel = torch.arange(9.0).view(3, 3)
    torch.testing.assert_close(filter2d(x, kernel, padding=1)[0, 0, 1:4, 1:4], kernel)


def test_upsample2d_pads_two_before_and_one_after():
    x = torch.randn(2, 3, 5, 6)
    torch.testing.assert_close(upsample2d(x, FIR), filter2d(F.pad(zeros_between(x), (2, 1, 2, 1)), 4 * FIR))


def test_upsample2d_keeps_a_constant_inside_and_downsample2d_undoes_it():
    x = torch.full((1, 3, 8, 8), 0.7)
    up = upsample2d(x, FIR)
    torch.testing.assert_close(up[..., 1:-1, 1:-1], torch.full((1, 3, 14, 14), 0.7))
    torch.testing.assert_close(downsample2d(up, FIR)[..., 1:-1, 1:-1], x[..., 1:-1, 1:-1])


def test_downsample2d_is_filter_then_every_second_pixel():
    x = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(downsample2d(x, FIR), filter2d(F.pad(x, (1, 1, 1, 1)), FIR)[..., ::2, ::2])


def test_fold_filter_is_the_full_convolution_of_both_kernels():
    weight = torch.randn(2, 3, 3, 3)
    expected = F.conv2d(weight.view(6, 1, 3, 3), FIR.flip(0, 1)[None, None], padding=3).view(2, 3, 6, 6)
    torch.testing.assert_close(fold_filter(weight, FIR), expected)


@pytest.mark.parametrize("fold", [False, True])
def test_up_convolution_is_transposed_convolution_then_filter(fold):
    x, weight = torch.randn(2, 5, 6, 7), torch.randn(4, 5, 3, 3)
    wide = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    expected = filter2d(F.pad(wide, (1, 1, 1, 1)), 4 * FIR)
    torch.testing.assert_close(conv2d_up(x, weight, FIR, fold=fold), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fold", [False, True])
def test_down_convolution_is_filter_then_strided_convolution(fold):
    x, weight = torch.randn(2, 5, 8, 6), torch.randn(4, 5, 3, 3)
    expected = F.conv2d(filter2d(F.pad(x, (2, 2, 2, 2)), FIR), weight, stride=2)
    torch.testing.assert_close(conv2d_down(x, weight, FIR, fold=fold), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("conv", [conv2d_up, conv2d_down])
def test_resampling_convolutions_differentiate_twice(conv, fold):
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: conv(x, w, FIR, fold=fold), (x, weight), fast_mode=True)


@pytest.mark.parametrize("noise_shape", [None, (4, 5), (2, 1, 4, 5), (1, 1, 4, 5)])
@pytest.mark.parametrize(("gain", "clamp"), [(1.0, None), (2**0.5, None), (0.7, 0.5)])
def test_bias_act_and_its_derivatives_equal_the_definition(noise_shape, gain, clamp):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    noise = None if noise_shape is None else torch.randn(noise_shape, dtype=torch.float64, requires_grad=True)
    inputs = [t for t in (x, bias, noise) if t is not None]

    def second(y):
        first = torch.autograd.grad(y.sin().sum(), inputs, create_graph=True)
        return first, torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), inputs)

    plain = F.leaky_relu(x + bias.view(-1, 1, 1) + (0 if noise is None else noise), 0.2) * gain
    plain = plain if clamp is None else plain.clamp(-clamp, clamp)
    fused = bias_act(x, bias, noise=noise, gain=gain, clamp=clamp)
    torch.testing.assert_close(fused, plain)
    for got, expected in zip(second(fused), second(plain), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_bias_act_takes_vectors():
    x, bias = torch.randn(4, 3), torch.randn(3)
    torch.testing.assert_close(bias_act(x, bias, gain=1), F.leaky_relu(x + bias, 0.2))


@pytest.mark.parametrize("fir", [None, FIR])
@pytest.mark.parametrize("samples", [1, 3])
def test_both_modulations_agree_in_value_and_gradient(samples, fir):
    x, weight, styles = torch.randn(samples, 6, 8, 8), torch.randn(5, 6, 3, 3), torch.randn(samples, 6)
    inputs = [t.requires_grad_() for t in (x, weight, styles)]
    results = []
    for modulate in ("weights", "activations", "auto"):
        y = modulated_conv2d(x, weight, styles, fir=fir, gain=1.3, modulate=modulate)
        results.append((y, *torch.autograd.grad(y.sin().sum(), inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(results[2], results[1])


def test_modulated_convolution_has_unit_variance():
    x, weight, styles = torch.randn(2, 64, 16, 16), torch.randn(32, 64, 3, 3), 5 * torch.randn(2, 64)
    inside = modulated_conv2d(x, weight, styles)[..., 1:-1, 1:-1]
    assert inside.var().item() == pytest.approx(1, abs=0.1)


def test_channels_last_goes_through():
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    weight, styles = torch.randn(4, 4, 3, 3), torch.randn(2, 4)
    y = bias_act(modulated_conv2d(x, weight, styles, fir=FIR), torch.zeros(4), clamp=1.0)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("samples", "group", "size"), [(8, 4, 4), (4, None, 4), (2, 4, 2), (6, 4, 3), (5, 4, 1)])
def test_minibatch_stddev_groups(samples, group, size):
    x = torch.randn(samples, 3, 4, 4)
    y = minibatch_stddev(x, group)
    assert torch.equal(y[:, :3], x)
    for n in range(samples):
        members = x[n % (samples // size) :: samples // size]
        assert len(members) == size
        expected = (members.var(0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[n, 3], expected.expand(4, 4))
