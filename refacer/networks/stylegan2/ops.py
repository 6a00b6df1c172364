"""Differentiable operations of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958), each of them twice differentiable.

Activations are (N, C, H, W), fastest in channels_last. Coefficients are float32, cast where they meet the activations.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Modulate = Literal["weights", "activations", "auto"]

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2)  # keeps the variance that the negative half loses


def setup_filter(taps: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)) -> Tensor:
    """The separable low-pass filter as an outer product of sum 1: (T, T) float32."""
    line = torch.tensor(taps)
    return torch.outer(line, line) / line.sum() ** 2


def filter2d(x: Tensor, fir: Tensor, padding: int = 0, stride: int = 1) -> Tensor:
    """Filter every channel of x (N, C, H, W) with fir (T, T), a true convolution, `padding` zeros on every side."""
    kernel = fir.flip(0, 1).to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, padding=padding, stride=stride, groups=x.shape[1])


def upsample2d(x: Tensor, fir: Tensor) -> Tensor:
    """Double the size of x (N, C, H, W): zeros between the pixels, then the 4-tap filter with gain 4."""
    kernel = (4 * fir).to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def downsample2d(x: Tensor, fir: Tensor) -> Tensor:
    """Halve the size of x (N, C, H, W): the 4-tap filter, then every second pixel."""
    return filter2d(x, fir, padding=1, stride=2)


def fold_filter(weight: Tensor, fir: Tensor) -> Tensor:
    """Convolve a kernel (..., 3, 3) with the 4-tap filter, giving (..., 6, 6): filter and convolution as one step."""
    basis = torch.eye(9, dtype=weight.dtype, device=weight.device).view(9, 1, 3, 3)
    spread = F.conv2d(basis, fir.flip(0, 1)[None, None].to(weight.dtype), padding=3)
    return (weight.flatten(-2) @ spread.view(9, 36)).unflatten(-1, (6, 6))


def conv2d_up(x: Tensor, weight: Tensor, fir: Tensor, groups: int = 1, fold: bool | None = None) -> Tensor:
    """Transposed 3x3 convolution to twice the size of x, then the filter with gain 4.

    Args:
        x: (N, groups * I, H, W).
        weight: (groups * O, I, 3, 3) in any float dtype.
        fold: one 6x6 transposed convolution instead of two steps: four times the arithmetic, but no intermediate result
            and fewer launches. None takes it on CUDA only; a CPU was measured up to three times as fast without.

    Returns:
        (N, groups * O, 2 H, 2 W).
    """
    fold = x.is_cuda if fold is None else fold
    weight = (fold_filter(weight, 4 * fir) if fold else weight).to(x.dtype)
    kernel = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # (groups * I, O, k, k)
    y = F.conv_transpose2d(x, kernel, stride=2, padding=2 if fold else 0, groups=groups)
    return y if fold else filter2d(y, 4 * fir, padding=1)


def conv2d_down(x: Tensor, weight: Tensor, fir: Tensor, fold: bool | None = None) -> Tensor:
    """The filter, then a convolution (O, I, 3, 3) of stride 2: (N, I, H, W) to (N, O, H / 2, W / 2); fold as above."""
    fold = x.is_cuda if fold is None else fold
    if fold:
        return F.conv2d(x, fold_filter(weight, fir).to(x.dtype), stride=2, padding=2)
    return F.conv2d(filter2d(x, fir, padding=2), weight.to(x.dtype), stride=2)


class _BiasAct(torch.autograd.Function):
    """bias_act that keeps only its own output, which the next layer keeps anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, noise: Tensor | None, gain: float, clamp: float | None) -> Tensor:
        y = x + _as_channels(bias, x)
        if noise is not None:
            y.add_(noise.to(y.dtype))
        y = F.leaky_relu_(y, LRELU_SLOPE)
        if gain != 1:
            y.mul_(gain)
        if clamp is not None:
            y.clamp_(-clamp, clamp)
        ctx.save_for_backward(y)
        ctx.gain, ctx.clamp = gain, clamp
        ctx.noise_shape = None if noise is None else noise.shape
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        (y,) = ctx.saved_tensors
        grad = _BiasActGrad.apply(grads[0], y, ctx.gain, ctx.clamp)
        dims = [d for d in range(grad.ndim) if d != 1]
        grad_bias = grad.sum(dims, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        grad_noise = None
        if ctx.needs_input_grad[2]:
            grad_noise = grad.sum(1, keepdim=True, dtype=torch.float32).sum_to_size(ctx.noise_shape)
        return grad, grad_bias, grad_noise, None, None


class _BiasActGrad(torch.autograd.Function):
    """Slope of bias_act times a gradient: linear in the gradient, so it is its own derivative."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, y: Tensor, gain: float, clamp: float | None) -> Tensor:
        ctx.save_for_backward(y)
        ctx.gain, ctx.clamp = gain, clamp
        if clamp is not None:
            grad = torch.ops.aten.hardtanh_backward(grad, y, -clamp, clamp)
        grad = torch.ops.aten.leaky_relu_backward(grad, y, LRELU_SLOPE, True)
        return grad if gain == 1 else grad.mul_(gain)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (y,) = ctx.saved_tensors
        grad = _BiasActGrad.apply(grads[0], y, ctx.gain, ctx.clamp)
        return grad, None, None, None


def _as_channels(values: Tensor, x: Tensor) -> Tensor:
    """Values (C,) or (N, C) in the dtype of x, shaped to meet x (N, C, ...)."""
    return values.to(x.dtype)[(..., *[None] * (x.ndim - 2))]


def bias_act(
    x: Tensor, bias: Tensor, *, noise: Tensor | None = None, gain: float = LRELU_GAIN, clamp: float | None = None
) -> Tensor:
    """Leaky ReLU of x + bias + noise, times gain, clamped to ±clamp.

    Since the leaky ReLU commutes with positive factors, a caller may fold the gain into what it adds and pass gain 1.

    Args:
        x: (N, C) or (N, C, H, W).
        bias: (C,) float32.
        noise: (H, W) or (N, 1, H, W), or None.
    """
    if noise is not None and noise.ndim == 2:
        noise = noise[None, None]
    return _BiasAct.apply(x, bias, noise, gain, clamp)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    fir: Tensor | None = None,
    gain: float = 1.0,
    modulate: Modulate = "auto",
) -> Tensor:
    """Convolution whose kernel is scaled per sample and demodulated to unit length (equations 1 and 3).

    Args:
        x: (N, I, H, W).
        weight: (O, I, 3, 3) float32.
        styles: (N, I) float32, factors of the input channels.
        fir: the filter (4, 4) of a convolution to twice the size; None keeps the size.
        gain: factor of the result.
        modulate: 'weights' builds one kernel a sample; 'activations' scales x before and the result after one common
            convolution, the same up to rounding; 'auto' means 'activations': one weight gradient however many samples,
            no grouped convolution, and on a CPU mostly faster even for one picture.

    Returns:
        (N, O, H, W), or (N, O, 2 H, 2 W) with fir.
    """
    if modulate == "weights":
        return _conv_modulated_weights(x, weight, styles, fir, gain)
    square = weight.square().sum((2, 3))  # (O, I)
    demod = gain * torch.rsqrt(styles.square() @ square.t() + 1e-8)  # (N, O)
    return _conv3x3(x * _as_channels(styles, x), weight, fir) * _as_channels(demod, x)


def _conv_modulated_weights(x: Tensor, weight: Tensor, styles: Tensor, fir: Tensor | None, gain: float) -> Tensor:
    """modulated_conv2d with the samples as groups of one convolution."""
    kernel = weight * styles[:, None, :, None, None]  # (N, O, I, 3, 3)
    kernel = kernel * (gain * torch.rsqrt(kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8))
    samples = x.shape[0]
    y = _conv3x3(x.reshape(1, -1, *x.shape[2:]), kernel.flatten(0, 1), fir, groups=samples)
    return y.reshape(samples, -1, *y.shape[2:])


def _conv3x3(x: Tensor, weight: Tensor, fir: Tensor | None, groups: int = 1) -> Tensor:
    """Convolution of the same size, or of twice the size when a filter is given."""
    if fir is not None:
        return conv2d_up(x, weight, fir, groups)
    return F.conv2d(x, weight.to(x.dtype), padding=1, groups=groups)


def minibatch_stddev(x: Tensor, group_size: int | None) -> Tensor:
    """Append the mean standard deviation over groups of pictures as one channel: (N, C, H, W) to (N, C + 1, H, W).

    Picture n belongs to group n mod (N / G). G is the largest divisor of N up to group_size (None: N).
    """
    samples = x.shape[0]
    size = min(group_size or samples, samples)
    size = next(g for g in range(size, 0, -1) if samples % g == 0)
    groups = x.reshape(size, samples // size, -1)  # (G, N / G, C H W)
    stddev = (groups.var(0, correction=0) + 1e-8).sqrt().mean(1)  # (N / G,)
    channel = stddev.repeat(size).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, channel], dim=1)
