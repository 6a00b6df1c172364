"""The only conversion between stored pixels and the tensors of a stage.

Stored: RGB, height x width x 3, uint8 (or uint16). In a stage: (1, 3, H, W) float32 in [-1, 1].
Values follow StyleGAN2: x = v / 127.5 - 1 and v = floor(127.5 x + 128), clipped, so that the round trip is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refacer.types import Rgb

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey of a colour (ITU-R BT.601), as picture editors and Pillow have them."""


def tensor_from_rgb(rgb: NDArray[np.uint8] | NDArray[np.uint16], device: torch.device | str = "cpu") -> Tensor:
    """(H, W, 3) uint8 or uint16 -> (1, 3, H, W) float32 in [-1, 1] on `device`."""
    half = 127.5 if rgb.dtype == np.uint8 else 32767.5
    stored = torch.from_numpy(rgb.astype(np.uint8 if rgb.dtype == np.uint8 else np.int32, order="C"))  # a writable copy
    return stored.to(device).permute(2, 0, 1)[None].float().div(half).sub(1).contiguous()


def rgb_from_tensor(image: Tensor) -> Rgb:
    """(1, 3, H, W) or (3, H, W) in [-1, 1] -> (H, W, 3) uint8, contiguous (dlib misreads others)."""
    chw = image[0] if image.ndim == 4 else image
    return _levels(chw, 8).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def rgb16_from_tensor(image: Tensor) -> NDArray[np.uint16]:
    """(1, 3, H, W) or (3, H, W) in [-1, 1] -> (H, W, 3) uint16."""
    chw = image[0] if image.ndim == 4 else image
    return _levels(chw, 16).permute(1, 2, 0).cpu().numpy().astype(np.uint16)


def scale_to_unit(stored: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 -> float32 in [-1, 1] on the same device."""
    return stored.float().div(127.5).sub(1)


def snap(image: Tensor) -> Tensor:
    """Round (N, 3, H, W) in [-1, 1] to the values that an 8-bit file would give back."""
    return _levels(image, 8).float().div(127.5).sub(1)


def paste_blend(
    native: NDArray[np.uint8] | NDArray[np.uint16],
    top: int,
    left: int,
    pixels: Tensor,
    alpha: Tensor,
    *,
    grey: bool = False,
    own: Callable[[NDArray[Any], NDArray[np.uint16]], NDArray[Any]] | None = None,
) -> None:
    """Write a finished region into native pixels where it counts, at their depth.

    native: (H, W, 3 or 4) uint8 or uint16, whose own alpha channel is kept; pixels: (1, 3, h, w) in [-1, 1];
    alpha: (1, 1, h, w). Where alpha is 0 nothing changes, bit for bit. grey: write the region without its colours.
    own: native pixels and what they become in sRGB, (h, w, 3) of 16 bits -> that in the pixels' own space and depth.
    """
    if grey:
        pixels = torch.einsum("c,nchw->nhw", pixels.new_tensor(LUMA), pixels)[:, None].expand_as(pixels)
    height, width = pixels.shape[2:]
    region = native[top : top + height, left : left + width, :3]
    if own:
        stored = own(region, rgb16_from_tensor(pixels))
    else:
        stored = rgb_from_tensor(pixels) if native.dtype == np.uint8 else rgb16_from_tensor(pixels)
    inside = (alpha[0, 0] > 0).cpu().numpy()
    region[inside] = stored[inside]


def labels_from_array(labels: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """(H, W) uint8 class ids or mask values -> (H, W) uint8 tensor on `device`."""
    return torch.from_numpy(labels.astype(np.uint8, order="C")).to(device)


def array_from_labels(labels: Tensor) -> NDArray[np.uint8]:
    """(H, W) class ids, or a bool mask as 0 and 255 -> (H, W) uint8."""
    stored = labels.to(torch.uint8) * (255 if labels.dtype == torch.bool else 1)
    return stored.cpu().numpy()


def _levels(image: Tensor, bits: int) -> Tensor:
    """Integer levels (int32) of values in [-1, 1]; 16 bits need float64's mantissa."""
    top = 2**bits - 1
    wide = image.float() if bits == 8 else image.double()
    return wide.mul(top / 2).add((top + 1) / 2).floor().clamp(0, top).to(torch.int32)
