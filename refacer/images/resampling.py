"""Resampling in plain torch, on the device of its input: affine sampling, Lanczos reduction, blur, reflection.

Points are (x, y) in pixel indices; a matrix is (2, 3) and named by both ends. Images are (1, C, H, W) float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LANCZOS_LOBES = 3
BAND_SAMPLES = 2**22
"""Samples held at once: bounds the memory of a supersampled crop."""

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Sampling:
    """How an image is sampled: supersample² bilinear samples a pixel, reduced by a Lanczos window or by their mean."""

    supersample: int = 1
    reduce: Literal["lanczos", "mean"] = "lanczos"
    outside: Literal["zero", "edge"] = "zero"  # what lies beyond the image


def sample_affine(image: Tensor, image_from_target: Matrix, shape: tuple[int, int], how: Sampling) -> Tensor:
    """Image seen through an affine map: (1, C, H, W) -> (1, C, *shape)."""
    height, width = shape
    rows = max(1, BAND_SAMPLES // (width * how.supersample**2))
    tops = range(0, height, rows)
    bands = (_bilinear(image, image_from_target, (top, min(top + rows, height)), width, how) for top in tops)
    if how.reduce == "mean":
        return torch.cat([F.avg_pool2d(band, how.supersample) for band in bands], dim=2)
    narrow = torch.cat([lanczos_reduce(band, how.supersample, 3) for band in bands], dim=2)
    return lanczos_reduce(narrow, how.supersample, 2)


def resized(images: Tensor, side_px: int) -> Tensor:
    """(N, C, H, W) as (N, C, side, side): the area's mean downwards, bilinear upwards."""
    if images.shape[-2:] == (side_px, side_px):
        return images
    mode = "area" if min(images.shape[-2:]) >= side_px else "bilinear"
    return F.interpolate(images, size=(side_px, side_px), mode=mode)


def lanczos_reduce(image: Tensor, factor: int, dim: int) -> Tensor:
    """Shrink `dim` by a whole factor with a Lanczos-3 window, normalised at the borders: size n -> ceil(n / factor)."""
    if factor == 1:
        return image
    centre, reach = (factor - 1) / 2, LANCZOS_LOBES * factor
    first = math.ceil(centre - reach)
    offsets = torch.arange(first, math.floor(centre + reach) + 1, device=image.device)
    distance = (offsets - centre) / factor
    taps = torch.sinc(distance) * torch.sinc(distance / LANCZOS_LOBES)
    size = image.shape[dim]
    after = (math.ceil(size / factor) - 1) * factor + int(offsets[-1]) - (size - 1)
    return filter_along(image, taps, dim, (-first, max(after, 0)), factor)


def gaussian_taps(sigma_px: float, truncate: float, device: torch.device) -> Tensor:
    """A Gaussian that sums to 1, cut at `truncate` sigmas."""
    radius = int(truncate * sigma_px + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32)
    taps = torch.exp(-0.5 * (offsets / max(sigma_px, 1e-6)) ** 2)
    return taps / taps.sum()


def filter_along(image: Tensor, taps: Tensor, dim: int, pad: tuple[int, int], stride: int = 1) -> Tensor:
    """Weighted mean of what lies under `taps` along `dim`; what lies outside the image has no weight."""
    kernel = taps.float().view((1, 1, 1, -1) if dim == 3 else (1, 1, -1, 1))
    margins = (*pad, 0, 0) if dim == 3 else (0, 0, *pad)
    strides = (1, stride) if dim == 3 else (stride, 1)
    line = torch.ones((1, 1, 1, image.shape[3]) if dim == 3 else (1, 1, image.shape[2], 1), device=image.device)
    planes = image.flatten(0, 1)[:, None]
    total = F.conv2d(F.pad(planes, margins), kernel, stride=strides)
    mean = total / F.conv2d(F.pad(line, margins), kernel, stride=strides)
    return mean[:, 0].unflatten(0, image.shape[:2])


def filter_both(image: Tensor, taps: Tensor) -> Tensor:
    """`filter_along` both axes with taps of odd length: the size stays."""
    radius = (len(taps) // 2, len(taps) // 2)
    return filter_along(filter_along(image, taps, 3, radius), taps, 2, radius)


def reflect_pad(image: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """Mirror the image about its outermost pixels, as often as the margins ask for."""
    columns = _mirrored(image.shape[3], left, right, image.device)
    rows = _mirrored(image.shape[2], top, bottom, image.device)
    return image.index_select(2, rows).index_select(3, columns)


def _mirrored(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Indices -before ... size + after - 1, folded back into 0 ... size - 1."""
    period = max(2 * size - 2, 1)
    index = torch.arange(-before, size + after, device=device) % period
    return torch.minimum(index, (period - index) % period) if size > 1 else torch.zeros_like(index)


def _bilinear(image: Tensor, image_from_target: Matrix, band: tuple[int, int], width: int, how: Sampling) -> Tensor:
    """Bilinear samples of the target's rows band[0] ... band[1] - 1: (1, C, rows, width), both times supersample."""
    columns, rows = _fine(0, width, how.supersample), _fine(*band, how.supersample)
    axes = []
    for (per_column, per_row, offset), size in zip(image_from_target, (image.shape[3], image.shape[2]), strict=True):
        across = (2 * (per_column * columns + offset) + 1) / size - 1  # pixel index -> [-1, 1]
        down = 2 * per_row * rows / size
        axis = across.float().to(image.device)[None] + down.float().to(image.device)[:, None]
        axes.append(axis.clamp(1 / size - 1, 1 - 1 / size) if how.outside == "edge" else axis)
    return F.grid_sample(image, torch.stack(axes, dim=-1)[None], mode="bilinear", align_corners=False)


def _fine(first: int, last: int, supersample: int) -> Tensor:
    """Pixel indices of the samples inside the pixels first ... last - 1, in float64 on the CPU."""
    count = (last - first) * supersample
    return first + (torch.arange(count, dtype=torch.float64) + 0.5) / supersample - 0.5
