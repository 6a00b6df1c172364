"""Adaptive discriminator augmentation (ADA): the "bgc" pipeline, and the controller of its probability.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, Sec. 3 and Appendix B.
Nothing here waits for the device. The published code pads by a margin that it reads back from the drawn transforms;
here one period of the mirrored picture (2R - 2 pixels a side) is enlarged and sampled modulo the period. That equals
a padding without end, its size never depends on the draws, and both draws and `p` may live on the device.
The two differ only where a transform reaches further than R - 1 pixels beyond the picture: black there, mirrored here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from refacer.errors import ShapeMismatch
from refacer.training.augment_draws import DRAWS, GATES, amounts_of, by_gate, published_percentile
from refacer.training.augment_filters import double, double_adjoint, halve, halve_adjoint, sample, sample_adjoint
from refacer.training.augment_maps import luma_basis, recolor, source_from_output

# Low-pass filter of the wavelet sym6 (Daubechies, "Ten Lectures on Wavelets", 1992), orthonormal: sums to sqrt(2).
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip

TensorMap = Callable[[Tensor], Tensor]


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
            "_color_basis": luma_basis(),
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
                images = _warp(images, *source_from_output(draws, images.shape[-1]), self.Hz_geom)
            return recolor(images, draws, self._color_basis) if self._has_color else images

    def _draw(self, images: Tensor, percentile: float | None, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Draw the N x 15 amounts of one call; an amount is 0 (does nothing) where its transform's gate is shut."""
        size = (len(images), len(GATES) + len(DRAWS))
        origin = images.device if generator is None else generator.device
        chances = torch.rand(size, generator=generator, device=origin)
        chances = chances.to(images.device, non_blocking=images.is_cuda)
        gates, quantiles = chances.split((len(GATES), len(DRAWS)), dim=1)
        shut = (gates >= self._gate_probability())[:, self._gate_of_draw]
        if percentile is None:
            amounts = amounts_of(quantiles, self._sizes)
        else:
            amounts = published_percentile(quantiles, self._sizes, percentile)
        return by_gate(amounts.masked_fill(shut, 0.0))

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


def _warp(images: Tensor, linear: Tensor, shift: Tensor, taps: Tensor) -> Tensor:
    """Mirror, double the resolution, sample, halve it (Appendix B): output(o) = images(linear o + shift)."""
    grid = _sampling_grid(linear, shift, images.shape[-1])

    def warp(images: Tensor) -> Tensor:
        tile = double(double(images, taps, dim=3), taps, dim=2)
        return halve(sample(tile, grid), taps)

    def adjoint(grads: Tensor) -> Tensor:
        tile = sample_adjoint(halve_adjoint(grads, taps), grid)
        return double_adjoint(double_adjoint(tile, taps, dim=2), taps, dim=3)

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
    """Where the doubled output (index -5 to 2R + 4, what `halve` reads) lies in the tile: (N, h, w, 2) in [-1, 1].

    Doubled index m lies (m + 1 - R) / 2 pixels from the centre, since h[5] is the filter's centre. The tile begins at
    index -R - 1, is 4R - 2 wide and repeats after 4R - 4.
    """
    steps = (torch.arange(-5, 2 * side + 5, device=linear.device) + (1 - side)) / 2
    across = linear[:, None, :, 0] * steps[:, None]
    down = linear[:, None, :, 1] * steps[:, None] + (shift[:, None] + side)
    scale = 2 / (4 * side - 3)  # the centres of the outermost of 4R - 2 lie at -1 and 1
    grid = (across[:, None] + down[:, :, None]) * (2 * scale)
    return grid.remainder_((4 * side - 4) * scale).sub_(1)
