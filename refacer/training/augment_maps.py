"""ADA's transforms from what was drawn for them: one affine map of the plane and one of RGB (Appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
