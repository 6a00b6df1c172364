"""sRGB to CIELAB and back (IEC 61966-2-1, CIE 15, white D65), in torch."""

from __future__ import annotations

import torch
from torch import Tensor

XYZ_FROM_RGB = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
WHITE_D65 = (0.95047, 1.0, 1.08883)
EPSILON, KAPPA = 216 / 24389, 24389 / 27


def lab_from_image(image: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB in [-1, 1] -> (N, 3, H, W) with L in [0, 100], a and b about [-128, 128]."""
    encoded = (image.clamp(-1, 1) + 1) / 2
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = _mixed(linear, image.new_tensor(XYZ_FROM_RGB)) / image.new_tensor(WHITE_D65)[:, None, None]
    f = torch.where(xyz > EPSILON, xyz.clamp(min=EPSILON) ** (1 / 3), (KAPPA * xyz + 16) / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def image_from_lab(lab: Tensor) -> Tensor:
    """The inverse of `lab_from_image`; colours outside sRGB are clipped to it."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(f**3 > EPSILON, f**3, (116 * f - 16) / KAPPA) * lab.new_tensor(WHITE_D65)[:, None, None]
    linear = _mixed(xyz, torch.linalg.inv(torch.tensor(XYZ_FROM_RGB)).to(lab)).clamp(0, 1)
    encoded = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055)
    return (encoded * 2 - 1).clamp(-1, 1)


def _mixed(image: Tensor, matrix: Tensor) -> Tensor:
    """The matrix on the channels of every pixel."""
    return torch.einsum("ij,njhw->nihw", matrix, image)
