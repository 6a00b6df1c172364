"""Layers of StyleGAN2 with equalised learning rate: weights are drawn from N(0, 1) and scaled where they are used."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.networks.stylegan2.ops import (
    LRELU_GAIN,
    Modulate,
    bias_act,
    conv2d_down,
    downsample2d,
    modulated_conv2d,
    setup_filter,
)


class Linear(nn.Module):
    """y = x (W lr / sqrt(in))^T + b lr, optionally through the leaky ReLU: (N, in) to (N, out)."""

    def __init__(
        self, in_features: int, out_features: int, *, bias: float = 0.0, lr: float = 1.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr))
        self.lr = lr
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        weight = self.weight * (self.lr / math.sqrt(self.weight.shape[1]))
        bias = self.bias * self.lr
        return bias_act(F.linear(x, weight), bias) if self.activate else F.linear(x, weight, bias)


class Conv(nn.Module):
    """A convolution of the discriminator and its leaky ReLU: (N, I, H, W) to (N, O, H, W), or to half the size."""

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, down: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", setup_filter())
        self.down = down
        self.clamp = clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """(N, I, H, W) to (N, O, H, W), or half that size; gain multiplies the result and the clamp."""
        factor = gain * LRELU_GAIN
        weight = self.weight * (factor / math.sqrt(self.weight[0].numel()))
        if self.down:
            y = conv2d_down(x, weight, self.resample_filter)
        else:
            y = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
        clamp = None if self.clamp is None else self.clamp * gain
        return bias_act(y, self.bias * factor, gain=1, clamp=clamp)


class SkipConv(nn.Module):
    """The discriminator's residual branch: filter, every second pixel, 1x1 convolution, neither bias nor activation."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.register_buffer("resample_filter", setup_filter())

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """(N, I, H, W) to (N, O, H / 2, W / 2), times gain."""
        weight = self.weight * (gain / math.sqrt(self.weight.shape[1]))
        return F.conv2d(downsample2d(x, self.resample_filter), weight.to(x.dtype))


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise and leaky ReLU, at `resolution` pixels or up to it from half the size."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, resolution: int, *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", setup_filter())
        self.up = up
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, modulate: Modulate) -> Tensor:
        """(N, I, H, W) and w (N, w_dim) to (N, O, R, R); noise is (R, R) or (N, 1, R, R)."""
        fir = self.resample_filter if self.up else None
        y = modulated_conv2d(x, self.weight, self.affine(w), fir=fir, gain=LRELU_GAIN, modulate=modulate)
        if noise is not None:
            noise = noise * (self.noise_strength * LRELU_GAIN)
        return bias_act(y, self.bias * LRELU_GAIN, noise=noise, gain=1, clamp=self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three colours, without demodulation: (N, C, H, W) to (N, 3, H, W) float32."""

    def __init__(self, in_channels: int, w_dim: int, *, clamp: float | None) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """A 3xC matrix a sample times its pixels: cheaper than scaling C channels of activations."""
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        kernel = self.weight.flatten(1) * styles[:, None]  # (N, 3, C)
        y = torch.bmm(x.flatten(2).mT, kernel.to(x.dtype).mT)  # (N, H W, 3), so that the picture is channels_last
        y = y.mT.unflatten(2, x.shape[2:]).float() + self.bias.view(-1, 1, 1)
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)
