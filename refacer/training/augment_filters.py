"""ADA's warp: mirror a picture, double it, sample it, halve it; each step is linear and has its adjoint.

The published code pads by a margin that it reads back from the drawn transforms; here one period of the mirrored
picture (2R - 2 pixels a side) is enlarged and sampled modulo the period. That equals a padding without end, and its
size never depends on the draws. The two differ only where a transform reaches further than R - 1 pixels beyond the
picture: black there, mirrored here. h are the 12 taps of a low-pass filter; h[5] is its centre.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

TensorMap = Callable[[Tensor], Tensor]


def warp(images: Tensor, linear: Tensor, shift: Tensor, taps: Tensor) -> Tensor:
    """Mirror, double the resolution, sample, halve it (Appendix B): output(o) = images(linear o + shift)."""
    grid = _sampling_grid(linear, shift, images.shape[-1])

    def forth(images: Tensor) -> Tensor:
        tile = _double(_double(images, taps, dim=3), taps, dim=2)
        return _halve(_sample(tile, grid), taps)

    def back(grads: Tensor) -> Tensor:
        tile = _sample_adjoint(_halve_adjoint(grads, taps), grid)
        return _double_adjoint(_double_adjoint(tile, taps, dim=2), taps, dim=3)

    return _Linear.apply(images, forth, back)  # pyright: ignore[reportReturnType]


class _Linear(torch.autograd.Function):
    """A linear map given with its adjoint, so that derivatives of every order are these two.

    Autograd alone cannot: grid_sample has no second derivative, and a grouped convolution's also computes, one by one,
    gradients of the filters that nobody asks for.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, forth: TensorMap, back: TensorMap) -> Tensor:
        ctx.maps = forth, back
        with torch.autocast(values.device.type, enabled=False):
            return forth(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, None, None]:
        forth, back = ctx.maps
        return _Linear.apply(grads[0], back, forth), None, None


def _sampling_grid(linear: Tensor, shift: Tensor, side: int) -> Tensor:
    """Where the doubled output (index -5 to 2R + 4, what `_halve` reads) lies in the tile: (N, h, w, 2) in [-1, 1].

    Doubled index m lies (m + 1 - R) / 2 pixels from the centre, since h[5] is the filter's centre. The tile begins at
    index -R - 1, is 4R - 2 wide and repeats after 4R - 4.
    """
    steps = (torch.arange(-5, 2 * side + 5, device=linear.device) + (1 - side)) / 2
    across = linear[:, None, :, 0] * steps[:, None]
    down = linear[:, None, :, 1] * steps[:, None] + (shift[:, None] + side)
    scale = 2 / (4 * side - 3)  # the centres of the outermost of 4R - 2 lie at -1 and 1
    grid = (across[:, None] + down[:, :, None]) * (2 * scale)
    return grid.remainder_((4 * side - 4) * scale).sub_(1)


def _double(images: Tensor, taps: Tensor, dim: int) -> Tensor:
    """Mirror one axis (2 or 3) to a whole period, and double it: R -> 4R - 2, from doubled index -R - 1.

    u[m] = 2 sum_n h[m - 2n + 5] x[n]; both m = 2q - 1 and m = 2q need x[q - 3] to x[q + 2].
    """
    before, after = _mirrored(images.shape[dim])
    padded = F.pad(images, (before, after, 0, 0) if dim == 3 else (0, 0, before, after), mode="reflect")
    pairs = F.conv2d(padded, _doubling_filter(taps, dim), groups=3)
    return pairs.unflatten(1, (3, 2)).movedim(2, dim + 1).flatten(dim, dim + 1)


def _double_adjoint(grads: Tensor, taps: Tensor, dim: int) -> Tensor:
    """The adjoint of `_double`: 4R - 2 -> R along one axis."""
    side = (grads.shape[dim] + 2) // 4
    before, after = _mirrored(side)
    pairs = grads.unflatten(dim, (-1, 2)).movedim(dim + 1, 2).flatten(1, 2)
    shape = [*grads.shape]
    shape[dim] = before + side + after
    padded = conv2d_input(shape, _doubling_filter(taps, dim), pairs, groups=3)
    left, middle, right = padded.split((before, side, after), dim)
    middle = middle.clone(memory_format=torch.contiguous_format)
    middle.narrow(dim, 1, before).add_(left.flip(dim))
    middle.narrow(dim, side - 1 - after, after).add_(right.flip(dim))
    return middle


def _mirrored(side: int) -> tuple[int, int]:
    """How many mirrored pixels go before and after a row, so that doubling gives one period and two more."""
    return side // 2 + 3, side // 2 + 1


def _doubling_filter(taps: Tensor, dim: int) -> Tensor:
    """Both phases of 2h for each of three channels, along axis 2 or 3."""
    phases = 2 * taps.view(6, 2).flip(0).T
    return _along(dim, phases.repeat(3, 1))


def _halve(images: Tensor, taps: Tensor) -> Tensor:
    """(N, 3, 2R + 10, 2R + 10) from doubled index -5 -> (N, 3, R, R): y[n] = sum_k h[k] v[2n + k - 5]."""
    weight = taps.repeat(3, 1)
    narrow = F.conv2d(images, _along(3, weight), stride=(1, 2), groups=3)
    return F.conv2d(narrow, _along(2, weight), stride=(2, 1), groups=3)


def _halve_adjoint(grads: Tensor, taps: Tensor) -> Tensor:
    """The adjoint of `_halve`: (N, 3, R, R) -> (N, 3, 2R + 10, 2R + 10)."""
    count, _, side, _ = grads.shape
    weight, wide = taps.repeat(3, 1), 2 * side + 10
    tall = conv2d_input((count, 3, wide, side), _along(2, weight), grads, stride=(2, 1), groups=3)  # pyright: ignore[reportArgumentType]
    return conv2d_input((count, 3, wide, wide), _along(3, weight), tall, stride=(1, 2), groups=3)  # pyright: ignore[reportArgumentType]


def _along(dim: int, taps: Tensor) -> Tensor:
    """Filters (C, K) as the weight of a convolution along axis 2 or 3."""
    return taps[:, None, None, :] if dim == 3 else taps[:, None, :, None]


def _sample(tile: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of the tile at the grid."""
    return F.grid_sample(tile, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _sample_adjoint(samples: Tensor, grid: Tensor) -> Tensor:
    """The adjoint of `_sample`: spread (N, 3, 2R + 10, 2R + 10) over the tile (N, 3, 4R - 2, 4R - 2)."""
    side = 2 * samples.shape[-1] - 22
    blank = samples.new_zeros(()).expand(*samples.shape[:2], side, side)  # read only for the gradient of the grid
    return torch.ops.aten.grid_sampler_2d_backward(samples, blank, grid, 0, 0, True, (True, False))[0]
