"""Adaptive discriminator augmentation (ADA): the "bgc" pipeline, and the controller of its probability.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, Sec. 3 and Appendix B.
Nothing here waits for the device. The published code pads by a margin that it reads back from the drawn transforms;
here one period of the mirrored picture (2R - 2 pixels a side) is enlarged and sampled modulo the period. That equals
a padding without end, its size never depends on the draws, and both draws and `p` may live on the device.
The two differ only where a transform reaches further than R - 1 pixels beyond the picture: black there, mirrored here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from refacer.errors import ShapeMismatch

# Low-pass filter of the wavelet sym6 (Daubechies, "Ten Lectures on Wavelets", 1992), orthonormal: sums to sqrt(2).
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip

# Every draw in the order of its column: what decides it, and the size of its distribution (Appendix B).
DISCRETE = (("xflip", 2), ("rotate90", 4), ("lumaflip", 2))  # floor(size u)
UNIFORM = (
    ("xint", 0.125), ("xint", 0.125),  # x, y as fractions of the side
    ("rotate", math.pi), ("rotate_again", math.pi), ("hue", math.pi),  # radians
)  # fmt: skip
NORMAL = (
    ("scale", 0.2), ("aniso", 0.2),  # log2
    ("xfrac", 0.125), ("xfrac", 0.125),  # x, y as fractions of the side
    ("brightness", 0.2),  # of the range [-1, 1]
    ("contrast", 0.5), ("saturation", 1.0),  # log2
)  # fmt: skip
DRAWS = DISCRETE + UNIFORM + NORMAL
GEOMETRY = ("xflip", "rotate90", "xint", "scale", "rotate", "rotate_again", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
GATES = GEOMETRY + COLOR
TensorMap = Callable[[Tensor], Tensor]
SMALLEST_UNIFORM = 2.0**-24  # torch.rand's grid; keeps the normal quantile of 0 finite


class Augment(nn.Module):
    """Augment images as StyleGAN2-ADA's pipe "bgc": each transform of each image is applied with probability `p`.

    The multipliers scale `p` for one transform; 0 switches it off. Buffers `p` [] and `Hz_geom` [12] have the published
    names; a published state also holds `Hz_fbank`, which bgc does not use: drop it before loading.
    """

    p: Tensor
    Hz_geom: Tensor
    _multipliers: Tensor
    _gate_of_draw: Tensor
    _sizes: Tensor
    _color_basis: Tensor

    def __init__(
        self,
        p: float = 0.0,
        *,
        xflip: float = 1.0,
        rotate90: float = 1.0,
        xint: float = 1.0,
        scale: float = 1.0,
        rotate: float = 1.0,
        aniso: float = 1.0,
        xfrac: float = 1.0,
        brightness: float = 1.0,
        contrast: float = 1.0,
        lumaflip: float = 1.0,
        hue: float = 1.0,
        saturation: float = 1.0,
    ) -> None:
        super().__init__()
        geometry = (xflip, rotate90, xint, scale, rotate, rotate, aniso, xfrac)
        color = (brightness, contrast, lumaflip, hue, saturation)
        self._has_geometry, self._has_color = any(geometry), any(color)
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("Hz_geom", torch.tensor(SYM6) / sum(SYM6))
        constants = {
            "_multipliers": torch.tensor(geometry + color, dtype=torch.float32),
            "_gate_of_draw": torch.tensor([GATES.index(gate) for gate, _ in DRAWS]),
            "_sizes": torch.tensor([size for _, size in DRAWS], dtype=torch.float32),
            "_color_basis": _luma_basis(),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, images: Tensor, *, percentile: float | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1], R even and >= 8 -> the same shape, float32, differentiable without end.

        `generator` may live on another device than the images; the draws travel to theirs. `percentile` q in (0, 1)
        replaces the draws as the published `debug_percentile` does, for comparing: the q-quantile of a discrete or
        uniform one, erfinv(2q - 1) sigma for a normal one (its quantile without the factor sqrt(2)), 0 for the second
        rotation. Whether a transform is applied is drawn with `p` all the same. Raises ShapeMismatch.
        """
        _check_square(images)
        with torch.autocast(images.device.type, enabled=False):  # half precision would move pixels
            draws = self._draw(images, percentile, generator)
            images = images.float().contiguous()
            if self._has_geometry:
                images = _warp(images, *_source_from_output(draws, images.shape[-1]), self.Hz_geom)
            return _recolor(images, draws, self._color_basis) if self._has_color else images

    def _draw(self, images: Tensor, percentile: float | None, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Draw the N x 15 amounts of one call; an amount is 0 (does nothing) where its transform's gate is shut."""
        size = (len(images), len(GATES) + len(DRAWS))
        origin = images.device if generator is None else generator.device
        chances = torch.rand(size, generator=generator, device=origin)
        chances = chances.to(images.device, non_blocking=images.is_cuda)
        gates, quantiles = chances.split((len(GATES), len(DRAWS)), dim=1)
        shut = (gates >= self._gate_probability())[:, self._gate_of_draw]
        if percentile is None:
            amounts = _amounts(quantiles, self._sizes)
        else:
            amounts = _published_percentile(quantiles, self._sizes, percentile)
        return _named(amounts.masked_fill(shut, 0.0))

    def _gate_probability(self) -> Tensor:
        """(13,): p times the multiplier; two rotations share theirs, 1 - (1 - p_rot)^2 = p (Appendix B)."""
        probability = (self._multipliers * self.p).clamp(max=1.0)
        half = 1 - (1 - probability).sqrt()
        first = GATES.index("rotate")
        return torch.cat((probability[:first], half[first : first + 2], probability[first + 2 :]))


class AdaController:
    """Steers `augment.p` so that the mean of sign(D(real)) stays at `target` (Sec. 3.1, r_t).

    Make it after the module was moved to its device. With several processes, sum `sums` over them before `update`.
    """

    def __init__(self, augment: Augment, *, target: float = 0.6, interval: int = 4, ada_kimg: float = 100.0) -> None:
        self.augment = augment
        self.target = target
        self.interval = interval
        self.ada_kimg = ada_kimg
        self.sums = torch.zeros(2, device=augment.p.device)  # of the signs, and how many

    @torch.no_grad()
    def accumulate(self, real_logits: Tensor) -> None:
        """Add the signs of D(real), any shape, to the statistics."""
        self.sums[0] += real_logits.detach().sign().sum()
        self.sums[1] += real_logits.numel()

    @torch.no_grad()
    def update(self, batch_size: int) -> None:
        """Move p by batch_size * interval / (ada_kimg * 1000), not below 0, and start anew; call every `interval`."""
        direction = (self.sums[0] - self.target * self.sums[1]).sign()  # sign(mean - target); 0 without data
        step = batch_size * self.interval / (self.ada_kimg * 1000)
        self.augment.p.add_(direction * step).clamp_(min=0.0)
        self.sums.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics since the last update; `p` is in the state of the module."""
        return {"sums": self.sums.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up statistics written by `state_dict`."""
        self.sums.copy_(state["sums"])


def _check_square(images: Tensor) -> None:
    side = images.shape[-1]
    if images.ndim != 4 or images.shape[1:] != (3, side, side) or side < 8 or side % 2:
        raise ShapeMismatch(
            f"images to augment are {tuple(images.shape)}; pass (N, 3, R, R) with an even R of 8 or more"
        )


def _amounts(quantiles: Tensor, sizes: Tensor, normal_gain: float = math.sqrt(2)) -> Tensor:
    """Turn (N, 15) uniform numbers into draws of DISCRETE, UNIFORM and NORMAL by their quantile functions."""
    counted, even, normal = quantiles.split((len(DISCRETE), len(UNIFORM), len(NORMAL)), dim=1)
    spread = normal.clamp(min=SMALLEST_UNIFORM).mul(2).sub(1).erfinv() * normal_gain
    whole = (counted * sizes[: len(DISCRETE)]).floor()
    return torch.cat((whole, torch.cat((even * 2 - 1, spread), 1) * sizes[len(DISCRETE) :]), 1)


def _published_percentile(like: Tensor, sizes: Tensor, percentile: float) -> Tensor:
    """(N, 15) amounts as the published `debug_percentile` sets them, its two liberties included (see forward)."""
    amounts = _amounts(torch.full_like(like, percentile), sizes, normal_gain=1.0)
    amounts[:, [gate for gate, _ in DRAWS].index("rotate_again")] = 0.0
    return amounts


def _named(amounts: Tensor) -> dict[str, Tensor]:
    """Split (N, 15) amounts by gate: (N,), or (N, 2) for the shifts in x and y."""
    columns: dict[str, list[int]] = {}
    for column, (gate, _) in enumerate(DRAWS):
        columns.setdefault(gate, []).append(column)
    return {gate: amounts[:, c[0]] if len(c) == 1 else amounts[:, c[0] : c[0] + 2] for gate, c in columns.items()}


def _source_from_output(draws: dict[str, Tensor], side: int) -> tuple[Tensor, Tensor]:
    """The inverse of all geometric transforms in order: source = linear (N, 2, 2) @ output + shift (N, 2).

    Pixels from the centre, y down. Forward: flip, quarter turns, whole shift, scale, turn, stretch, turn, shift.
    """
    angles = torch.stack((draws["rotate90"] * (math.pi / 2), draws["rotate"], draws["rotate_again"]), 1)
    quarter, turn, turn_again = _rotation(angles).unbind(1)
    mirror = torch.stack((1 - 2 * draws["xflip"], torch.ones_like(draws["xflip"])), 1)
    stretch = torch.stack((-draws["scale"] - draws["aniso"], draws["aniso"] - draws["scale"]), 1).exp2()
    pose = mirror[:, :, None] * quarter
    linear = _product(_product(pose, turn) * stretch[:, None, :], turn_again)
    whole, rest = (draws["xint"] * side).round(), draws["xfrac"] * side
    return linear, -_product(pose, whole[:, :, None])[..., 0] - _product(linear, rest[:, :, None])[..., 0]


def _rotation(angles: Tensor) -> Tensor:
    """Radians (...) -> (..., 2, 2)."""
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((cos, -sin, sin, cos), -1).unflatten(-1, (2, 2))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Batched matrix product without TF32, whose 10 bits would move a pixel."""
    return (left[..., :, :, None] * right[..., None, :, :]).sum(-2)


def _warp(images: Tensor, linear: Tensor, shift: Tensor, taps: Tensor) -> Tensor:
    """Mirror, double the resolution, sample, halve it (Appendix B): output(o) = images(linear o + shift)."""
    grid = _sampling_grid(linear, shift, images.shape[-1])

    def warp(images: Tensor) -> Tensor:
        tile = _double(_double(images, taps, dim=3), taps, dim=2)
        return _halve(_sample(tile, grid), taps)

    def adjoint(grads: Tensor) -> Tensor:
        tile = _sample_adjoint(_halve_adjoint(grads, taps), grid)
        return _double_adjoint(_double_adjoint(tile, taps, dim=2), taps, dim=3)

    return _Linear.apply(images, warp, adjoint)  # pyright: ignore[reportReturnType]


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


def _luma_basis() -> Tensor:
    """(3, 3, 3): projection on the grey axis v = (1, 1, 1)/sqrt(3), on its plane, and the cross product with v."""
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return torch.stack((grey, torch.eye(3) - grey, cross))


def _recolor(images: Tensor, draws: dict[str, Tensor], basis: Tensor) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation as one affine map of RGB (Appendix B).

    All but brightness keep the grey axis and its plane apart, so that with s = saturation and t = hue their product is
    contrast * ((1 - 2 flip) grey + s cos t plane + s sin t cross), and brightness is added before it.
    """
    saturation, hue = draws["saturation"].exp2(), draws["hue"]
    parts = torch.stack((1 - 2 * draws["lumaflip"], saturation * hue.cos(), saturation * hue.sin()), 1)
    parts = parts * draws["contrast"].exp2()[:, None]
    matrix = (parts[:, :, None, None] * basis).sum(1)  # [N, 3, 3]
    offset = (parts[:, 0] * draws["brightness"])[:, None, None]  # a grey is only scaled
    return torch.baddbmm(offset, matrix, images.flatten(2)).view_as(images)
