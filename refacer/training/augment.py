"""Adaptive discriminator augmentation (ADA): the "bgc" pipeline, and the controller of its probability.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020, Sec. 3 and Appendix B.
Nothing here waits for the device: both draws and `p` may live on it. `jitter` below is of real pictures, not ADA's.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.errors import ShapeMismatch
from refacer.training.augment_filters import warp

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
SMALLEST_UNIFORM = 2.0**-24  # torch.rand's grid; keeps the normal quantile of 0 finite


class Augment(nn.Module):
    """Augment images as StyleGAN2-ADA's pipe "bgc": each transform of each image is applied with probability `p`.

    Buffers `p` [] and `Hz_geom` [12] have the published names; a published state also holds `Hz_fbank`, which bgc does
    not use: drop it before loading.
    """

    p: Tensor
    Hz_geom: Tensor
    _gate_of_draw: Tensor
    _sizes: Tensor
    _color_basis: Tensor

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("Hz_geom", torch.tensor(SYM6) / sum(SYM6))
        constants = {
            "_gate_of_draw": torch.tensor([GATES.index(gate) for gate, _ in DRAWS]),
            "_sizes": torch.tensor([size for _, size in DRAWS], dtype=torch.float32),
            "_color_basis": luma_basis(),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1], R even and >= 8 -> the same shape, float32, differentiable without end.

        `generator` may live on another device than the images; the draws travel to theirs. Raises ShapeMismatch.
        """
        side = images.shape[-1]
        if images.ndim != 4 or images.shape[1:] != (3, side, side) or side < 8 or side % 2:
            raise ShapeMismatch(
                f"images to augment are {tuple(images.shape)}; pass (N, 3, R, R) with an even R of 8 or more"
            )
        return self.transform(images, self.draw(images, generator))

    def draw(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The amounts of one call, (N, 15) in the order of DRAWS; 0, which does nothing, where a gate is shut."""
        size = (len(images), len(GATES) + len(DRAWS))
        origin = images.device if generator is None else generator.device
        uniform = torch.rand(size, generator=generator, device=origin)
        uniform = uniform.to(images.device, non_blocking=images.is_cuda)
        gates, quantiles = uniform.split((len(GATES), len(DRAWS)), dim=1)
        shut = (gates >= self._gate_probability())[:, self._gate_of_draw]
        return amounts_of(quantiles, self._sizes).masked_fill(shut, 0.0)

    def transform(self, images: Tensor, amounts: Tensor) -> Tensor:
        """Images (N, 3, R, R) moved and recoloured by amounts (N, 15) of all transforms, in float32."""
        with torch.autocast(images.device.type, enabled=False):  # half precision would move pixels
            draws = by_gate(amounts)
            images = images.float().contiguous()
            images = warp(images, *source_from_output(draws, images.shape[-1]), self.Hz_geom)
            return recolor(images, draws, self._color_basis)

    def _gate_probability(self) -> Tensor:
        """(13,): p, but for the two rotations p_rot, with 1 - (1 - p_rot)^2 = p (Appendix B)."""
        p = self.p.clamp(max=1.0).expand(len(GATES))
        half = 1 - (1 - p).sqrt()
        first = GATES.index("rotate")
        return torch.cat((p[:first], half[first : first + 2], p[first + 2 :]))


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


def amounts_of(quantiles: Tensor, sizes: Tensor) -> Tensor:
    """Turn (N, 15) uniform numbers into draws of DISCRETE, UNIFORM and NORMAL by their quantile functions."""
    discrete, uniform, normal = quantiles.split((len(DISCRETE), len(UNIFORM), len(NORMAL)), dim=1)
    deviations = normal.clamp(min=SMALLEST_UNIFORM).mul(2).sub(1).erfinv() * math.sqrt(2)
    whole = (discrete * sizes[: len(DISCRETE)]).floor()
    return torch.cat((whole, torch.cat((uniform * 2 - 1, deviations), 1) * sizes[len(DISCRETE) :]), 1)


def by_gate(amounts: Tensor) -> dict[str, Tensor]:
    """Split (N, 15) amounts by gate: (N,), or (N, 2) for the shifts in x and y."""
    columns: dict[str, list[int]] = {}
    for column, (gate, _) in enumerate(DRAWS):
        columns.setdefault(gate, []).append(column)
    return {gate: amounts[:, c[0]] if len(c) == 1 else amounts[:, c[0] : c[0] + 2] for gate, c in columns.items()}


def source_from_output(draws: dict[str, Tensor], side: int) -> tuple[Tensor, Tensor]:
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


def luma_basis() -> Tensor:
    """(3, 3, 3): projection on the grey axis v = (1, 1, 1)/sqrt(3), on its plane, and the cross product with v."""
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    return torch.stack((grey, torch.eye(3) - grey, cross))


def recolor(images: Tensor, draws: dict[str, Tensor], basis: Tensor) -> Tensor:
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


def jitter(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Shift and scale each of (N, 3, R, R) by up to `amount` of its size; bicubic, reflected at the border."""
    draws = torch.rand(images.shape[0], 3, generator=generator) * 2 - 1
    theta = torch.zeros(images.shape[0], 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 + draws[:, 0] * amount
    theta[:, :, 2] = draws[:, 1:] * (2 * amount)  # the grid spans [-1, 1]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device, non_blocking=True)
    sampled = F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return sampled.clamp(-1, 1)
