"""Align: cut a face out of a picture the way the FFHQ dataset was cut, on the picture's device.

The procedure is FFHQ's `recreate_aligned_images`: shrink, crop, pad, sample a quad. Two things differ, both
on purpose: only the region that is needed is touched, and the shrink keeps the quad's place to the half pixel, so that
`CropTransform` is the exact inverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.errors import UsageError
from refacer.images.canvas import Picture
from refacer.images.resampling import (
    LANCZOS_LOBES,
    Sampling,
    filter_both,
    gaussian_taps,
    lanczos_reduce,
    reflect_pad,
    sample_affine,
)
from refacer.options import AlignOptions
from refacer.types import CropTransform, Points

BORDER_FRAC, BORDER_MIN_PX = 0.1, 3  # what is kept around the quad
PAD_FRAC, BLUR_FRAC, BLUR_TRUNCATE = 0.3, 0.02, 4.0  # least padding; sigma of the padding's blur, cut at 4 sigmas

Point = tuple[float, float]


@dataclass(frozen=True)
class _Region:
    """A part of the picture, perhaps shrunk or padded, with the quad in its own pixel indices."""

    image: Tensor  # [1CHW]
    quad: Points

    @property
    def side_px(self) -> float:
        """Length of the quad's side here."""
        return math.dist(self.quad[0], self.quad[3])

    @property
    def border_px(self) -> int:
        """What FFHQ keeps around the quad."""
        return _border_px(self.quad)


def quad_from_landmarks(landmarks: Points) -> Points:
    """FFHQ's quad of 68 landmarks (or RetinaFace's 5): corners NW, SW, SE, NE in the landmarks' pixels."""
    if len(landmarks) == 5:
        return quad_from_five_points(landmarks)
    return _quad(_mean(landmarks[36:42]), _mean(landmarks[42:48]), _mean((landmarks[48], landmarks[54])))


def quad_from_five_points(points: Points) -> Points:
    """FFHQ's quad of RetinaFace's order: eyes, nose, mouth corners, the left one first as seen in the picture."""
    return _quad(_mean(points[0:1]), _mean(points[1:2]), _mean(points[3:5]))


def side_px(landmarks: Points) -> float:
    """Side of a face's quad in the landmarks' pixels."""
    quad = quad_from_landmarks(landmarks)
    return math.dist(quad[0], quad[3])


def select_faces(faces: Sequence[Points], which: str) -> list[int]:
    """Which faces to treat: 'all', 'largest' (by quad), or indices such as '0,2'; raises UsageError otherwise."""
    if which == "all" or not faces:
        return list(range(len(faces)))
    if which == "largest":
        return [max(range(len(faces)), key=lambda index: side_px(faces[index]))]
    return _indices(which, len(faces))


def align(image: Picture, quad: Points, size: int, options: AlignOptions) -> Tensor:
    """Cut the quad out of a picture (1, 3, H, W) in [-1, 1] -> (1, 3, size, size) in [-1, 1].

    quad: NW, SW, SE, NE in the picture's pixel indices; it may leave the picture.
    """
    picture, quad = _shrunk(image, quad, size)
    left, top, right, bottom = _clipped(_bounds(quad, _border_px(quad)), picture)
    region = _Region(picture[:, :, top:bottom, left:right], _moved(quad, -left, -top))
    if options.padding:
        region = _padded(region)
    how = Sampling(max(1, min(options.supersample, options.transform_size // size)))
    matrix = CropTransform(region.quad, size).source_from_crop.tolist()
    return sample_affine(region.image, matrix, (size, size), how).clamp(-1, 1)


def _quad(eye_left: Point, eye_right: Point, mouth: Point) -> Points:
    """FFHQ's quad of the eyes' centres and the middle of the mouth's corners (`recreate_aligned_images`)."""
    eyes = _mean((eye_left, eye_right))
    across = (eye_right[0] - eye_left[0], eye_right[1] - eye_left[1])
    down = (mouth[0] - eyes[0], mouth[1] - eyes[1])
    x = (across[0] + down[1], across[1] - down[0])
    length = max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down)) / max(math.hypot(*x), 1e-9)
    x = (x[0] * length, x[1] * length)
    y = (-x[1], x[0])
    centre = (eyes[0] + 0.1 * down[0], eyes[1] + 0.1 * down[1])
    signs = ((-1, -1), (-1, 1), (1, 1), (1, -1))
    return tuple((centre[0] + i * x[0] + j * y[0], centre[1] + i * x[1] + j * y[1]) for i, j in signs)


def _border_px(quad: Points) -> int:
    return max(round(BORDER_FRAC * math.dist(quad[0], quad[3])), BORDER_MIN_PX)


def _shrunk(image: Picture, quad: Points, size: int) -> tuple[Picture, Points]:
    """FFHQ's shrink by a whole factor where the quad is more than four times the crop, on the part that is needed."""
    factor = math.floor(math.dist(quad[0], quad[3]) / size * 0.5)
    if factor <= 1:
        return image, quad
    reach = max(BORDER_FRAC * math.dist(quad[0], quad[3]), BORDER_MIN_PX * factor) + (LANCZOS_LOBES + 2) * factor
    left, top, right, bottom = _clipped(_bounds(quad, reach), image)
    left, top = left // factor * factor, top // factor * factor
    small = lanczos_reduce(lanczos_reduce(image[:, :, top:bottom, left:right], factor, 3), factor, 2)
    points = tuple(((x - left + 0.5) / factor - 0.5, (y - top + 0.5) / factor - 0.5) for x, y in quad)
    return small.clamp(-1, 1), points


def _padded(region: _Region) -> _Region:
    """FFHQ's padding: mirror what is missing, blur it, and fade it to the median colour."""
    height, width = region.image.shape[2:]
    left, top, right, bottom = _bounds(region.quad, region.border_px)
    missing = (max(-left, 0), max(-top, 0), max(right - width, 0), max(bottom - height, 0))
    if max(missing) <= region.border_px - 4:
        return region
    least = round(PAD_FRAC * region.side_px)
    pad = tuple(max(amount, least) for amount in missing)
    image = reflect_pad(region.image, *pad)
    depth = _depth(image, pad)
    taps = gaussian_taps(BLUR_FRAC * region.side_px, BLUR_TRUNCATE, image.device)
    blurred = filter_both(image, taps)
    image = torch.lerp(image, blurred, (3 * depth + 1).clamp(0, 1))
    median = image.flatten(2).median(dim=2).values[:, :, None, None]
    return _Region(torch.lerp(image, median, depth.clamp(0, 1)), _moved(region.quad, pad[0], pad[1]))


def _depth(image: Tensor, pad: Sequence[int]) -> Tensor:
    """How deep a pixel lies in the padding, (1, 1, H, W): 1 at the outermost, 0 at the picture's edge, less inside."""
    left, top, right, bottom = pad
    x = torch.arange(image.shape[3], device=image.device, dtype=torch.float32)
    y = torch.arange(image.shape[2], device=image.device, dtype=torch.float32)
    across = 1 - torch.minimum(x / left, x.flip(0) / right)
    down = 1 - torch.minimum(y / top, y.flip(0) / bottom)
    return torch.maximum(across[None, :], down[:, None])[None, None]


def _bounds(quad: Points, reach: float) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the quad and `reach` pixels around it."""
    xs, ys = zip(*quad, strict=True)
    low = (math.floor(min(xs)) - math.ceil(reach), math.floor(min(ys)) - math.ceil(reach))
    return (*low, math.ceil(max(xs)) + math.ceil(reach), math.ceil(max(ys)) + math.ceil(reach))


def _clipped(bounds: tuple[int, int, int, int], image: Picture) -> tuple[int, int, int, int]:
    """The bounds within the picture, never empty: a quad quite outside keeps the nearest pixels."""
    height, width = image.shape[2:]
    left, top = min(max(bounds[0], 0), width - 1), min(max(bounds[1], 0), height - 1)
    return left, top, max(min(bounds[2], width), left + 1), max(min(bounds[3], height), top + 1)


def _moved(quad: Points, dx: float, dy: float) -> Points:
    return tuple((x + dx, y + dy) for x, y in quad)


def _mean(points: Sequence[Sequence[float]]) -> Point:
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)


def _indices(which: str, count: int) -> list[int]:
    """'0,2' -> [0, 2], each once and in the order of the faces."""
    try:
        wanted = sorted({int(part) for part in which.split(",")})
    except ValueError as error:
        raise UsageError(f"--faces {which}: use all, largest, or numbers such as 0,2") from error
    if wanted[0] < 0 or wanted[-1] >= count:
        raise UsageError(f"--faces {which}: the picture has {count} face(s), numbered from 0; choose among these")
    return wanted
