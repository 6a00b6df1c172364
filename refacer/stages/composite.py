"""Composite: put a new face back into the picture it was cut from, in the picture's own pixels (Eq. B1).

    x_final = m' * x' + (1 - m') * x

x' is the face seen through the inverse of the crop, m' the mask seen likewise, eroded and blurred; outside the crop
the mask is 0 before it is eroded. Lengths are fractions of the quad's side, measured in source pixels.
Instead of the new face, the change that the pair makes of the old one can be blended in (`change`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.errors import PassportMismatch, UsageError
from refacer.images.canvas import Picture
from refacer.images.color import image_from_lab, lab_from_image
from refacer.images.resampling import (
    LANCZOS_LOBES,
    Matrix,
    Sampling,
    filter_both,
    gaussian_taps,
    resized,
    sample_affine,
)
from refacer.options import AlignOptions, CompositeOptions
from refacer.stages.align import align
from refacer.stages.change import applied_at, faded, fields_of_pair, kept_tint, match
from refacer.types import CropTransform, Points

BLUR_TRUNCATE = 3.0  # sigmas after which the blur ends: m' is 0 beyond
ALPHA_FLOOR = 1e-3  # less than this of the face cannot be seen, and is none
MASK_SIDE_PX = 640  # of the quad, up to which the mask is made in the source's own pixels
MAX_SUPERSAMPLE, MAX_ENLARGE = 16, 4
MAX_SIDE_RATIO = 16  # a quad so many times the picture is not of this picture
MAX_STRENGTH = 10
GAIN_LIMITS = (0.5, 2.0)  # of the spread, for colour matching


@dataclass(frozen=True)
class Blend:
    """A finished region of the picture.

    top, left: its place; pixels: (1, 3, h, w) in [-1, 1]; alpha: (1, 1, h, w), the weight m' of the new face in [0, 1].
    Where alpha is 0 the pixels are the source's.
    """

    top: int
    left: int
    pixels: Tensor
    alpha: Tensor


@dataclass(frozen=True)
class _Window:
    """A rectangle of source pixel indices, ends exclusive; it may leave the picture."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        return max(self.bottom - self.top, 0), max(self.right - self.left, 0)

    def grown(self, margin: int) -> _Window:
        return _Window(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def within(self, other: _Window) -> _Window:
        left, top = max(self.left, other.left), max(self.top, other.top)
        return _Window(left, top, min(self.right, other.right), min(self.bottom, other.bottom))

    def of(self, image: Picture, outer: _Window) -> Tensor:
        """This window's part of an image that shows `outer`."""
        rows = slice(self.top - outer.top, self.bottom - outer.top)
        return image[:, :, rows, self.left - outer.left : self.right - outer.left]


def composite(
    image: Picture,
    face: Tensor,
    mask: Tensor | None,
    quad: Points,
    options: CompositeOptions,
    *,
    rendering: Tensor | None = None,
    fields: Tensor | None = None,
) -> Blend:
    """Eq. B1 on the part of the picture that changes.

    image: (1, 3, H, W) in [-1, 1]; face: (1, 3, T, T) in [-1, 1]; mask: (1, 1, M, M) bool or in [0, 1], None for the
    whole crop; quad: where the crop was, in the picture's pixel indices. `options.paste` other than "face" needs the
    change: fields (1, 12, h, w), else they are fitted to the face and the rendering generator's picture of it,
    rendering, (1, 3, T, T). With neither, or with fields alone, "auto" is "face" or "change".
    Raises PassportMismatch where the quad is not in this picture, ShapeMismatch where face and rendering differ in
    size, UsageError where there is nothing to tell the change, or for a strength that is negative or no number.
    """
    options = _feasible(options, rendering, fields)
    picture = _Window(0, 0, image.shape[3], image.shape[2])
    side_px = _checked_side(quad, picture)
    whole = face.new_ones(1, 1, *face.shape[2:])
    mask = whole if mask is None else mask.to(whole)
    if options.paste != "face":
        mask = faded(mask, options.change.border_frac)
    window, alpha = _alpha(mask, quad, picture, options)
    source = window.of(image, picture)
    if options.paste == "face":
        pasted = _matched(_pasted(face, quad, window, side_px), source, alpha, options)
    else:
        if fields is None and rendering is not None:
            crop = align(image, quad, face.shape[3], AlignOptions())
            fields = fields_of_pair(crop, rendering, face, options.change)
        assert fields is not None  # `_feasible` made sure
        pasted = _changed(fields, source, quad, window, alpha, options)
        if options.paste == "auto" and rendering is not None:
            drawn = _pasted(rendering, quad, window, side_px)
            trust = match(source, drawn, options.change.trust_frac * side_px, options.change.face_trust)
            new = _matched(_pasted(face, quad, window, side_px), pasted, alpha * trust, options)
            pasted = torch.lerp(pasted, new, trust * min(options.strength, 1))
    return Blend(window.top, window.left, torch.where(alpha > 0, torch.lerp(source, pasted, alpha), source), alpha)


def match_color(face: Tensor, source: Tensor, weight: Tensor, spread: float) -> Tensor:
    """Give the face the source's mean in CIELAB under `weight`, and `spread` of the difference in deviation.

    face, source: (1, 3, H, W) in [-1, 1]; weight: (1, 1, H, W). Reinhard et al., Color Transfer between Images (2001).
    """
    lab = lab_from_image(face)
    mean, deviation = _moments(lab, weight)
    wanted_mean, wanted_deviation = _moments(lab_from_image(source), weight)
    gain = 1 + spread * (wanted_deviation / deviation.clamp(min=1e-3) - 1)
    return image_from_lab((lab - mean) * gain.clamp(*GAIN_LIMITS) + wanted_mean)


def erode(mask: Tensor, radius_px: float) -> Tensor:
    """Least value within a disc: (1, 1, H, W) -> the same; beyond the borders the mask is 0."""
    reach = math.floor(radius_px)
    gaps = F.pad(1 - mask, (reach, reach, reach, reach), value=1.0)
    height, width = mask.shape[2:]
    widest = torch.zeros_like(mask)
    for offset in range(-reach, reach + 1):
        half = math.floor(math.sqrt(radius_px**2 - offset**2))
        rows = gaps[:, :, reach + offset : reach + offset + height, reach - half : reach + width + half]
        widest = torch.maximum(widest, F.max_pool2d(rows, (1, 2 * half + 1), 1))
    return 1 - widest


def _alpha(mask: Tensor, quad: Points, picture: _Window, options: CompositeOptions) -> tuple[_Window, Tensor]:
    """m' of Eq. B1 (1, 1, h, w), and the window of the picture outside which it is 0.

    Where the quad is large it is made in pixels `factor` times the source's: it holds nothing finer.
    """
    factor = math.ceil(math.dist(quad[0], quad[3]) / MASK_SIDE_PX)
    coarse_quad = tuple(((x + 0.5) / factor - 0.5, (y + 0.5) / factor - 0.5) for x, y in quad)
    coarse_picture = _Window(0, 0, math.ceil(picture.right / factor), math.ceil(picture.bottom / factor))
    coarse, alpha = _softened(mask, coarse_quad, coarse_picture, options)
    if factor > 1:
        alpha = F.interpolate(alpha, scale_factor=factor, mode="bilinear", align_corners=False)
    outer = _Window(*(edge * factor for edge in (coarse.left, coarse.top, coarse.right, coarse.bottom)))
    window = outer.within(picture)
    alpha = window.of(alpha, outer)
    return window, torch.where(alpha < ALPHA_FLOOR, 0.0, alpha.clamp(max=1))


def _softened(mask: Tensor, quad: Points, picture: _Window, options: CompositeOptions) -> tuple[_Window, Tensor]:
    """The mask in the picture's pixels, eroded and blurred, with the window it was made for."""
    side_px = math.dist(quad[0], quad[3])
    sigma_px, erode_px = options.feather_frac * side_px, options.erode_frac * side_px
    blur_px = math.ceil(BLUR_TRUNCATE * sigma_px) + 1
    support = _bounds(quad).grown(blur_px)
    window = support.within(picture)
    # The mask goes on beyond the picture's frame: a face that the frame cuts has no edge there.
    outer = support.within(window.grown(blur_px + math.ceil(erode_px)))
    alpha = erode(_seen(mask, quad, outer, _mask_sampling(mask.shape[3], side_px)), erode_px)
    taps = gaussian_taps(sigma_px, BLUR_TRUNCATE, mask.device)
    return window, window.of(filter_both(alpha, taps), outer)


def _feasible(options: CompositeOptions, rendering: Tensor | None, fields: Tensor | None) -> CompositeOptions:
    """The options with what "auto" comes to; raises UsageError where they cannot be followed."""
    if not 0 <= options.strength <= MAX_STRENGTH:
        raise UsageError(f"--strength {options.strength}: must be a number from 0 to {MAX_STRENGTH}")
    if options.paste == "auto" and rendering is None:
        return replace(options, paste="face" if fields is None else "change")
    if options.paste == "change" and rendering is None and fields is None:
        raise UsageError("--paste change: needs the rendering generator's picture of the face, too; use --paste face")
    return options


def _matched(face: Tensor, source: Tensor, weight: Tensor, options: CompositeOptions) -> Tensor:
    """The face with the source's colours, if they are wanted."""
    return match_color(face, source, weight, options.color_spread) if options.color == "lab" else face


def _changed(
    fields: Tensor, source: Tensor, quad: Points, window: _Window, alpha: Tensor, options: CompositeOptions
) -> Tensor:
    """The source's pixels under the fields of its crop; fields finer than they are reduced first."""
    if options.strength == 0:
        return source
    side = min(fields.shape[3], math.ceil(math.dist(quad[0], quad[3])))
    changed = applied_at(resized(fields, side), source, _moved(quad, side, window), options.strength)
    return kept_tint(changed, source, alpha, options.change.kept_tint) if options.color == "lab" else changed


def _pasted(face: Tensor, quad: Points, window: _Window, side_px: float) -> Tensor:
    """The face as the source's pixels see it; beyond the crop its outermost pixels go on."""
    size = face.shape[3]
    if side_px > size:
        factor = min(math.ceil(side_px / size), MAX_ENLARGE)
        face = F.interpolate(face, scale_factor=factor, mode="bicubic", align_corners=False)
    supersample = min(math.ceil(size / side_px), MAX_SUPERSAMPLE)
    wider = window.grown(LANCZOS_LOBES)  # so that the reduction sees beyond the frame, too
    return window.of(_seen(face, quad, wider, Sampling(supersample, "lanczos", "edge")), wider).clamp(-1, 1)


def _mask_sampling(size: int, side_px: float) -> Sampling:
    """A mask must not ring: its samples are averaged."""
    return Sampling(min(max(math.ceil(size / side_px), 2), MAX_SUPERSAMPLE), "mean", "zero")


def _seen(crop: Tensor, quad: Points, window: _Window, how: Sampling) -> Tensor:
    """A crop in the pixels of a window of the source: (1, C, T, T) -> (1, C, h, w)."""
    return sample_affine(crop, _moved(quad, crop.shape[3], window), window.shape, how)


def _moved(quad: Points, size: int, window: _Window) -> Matrix:
    """The map from a window's pixel indices to those of a crop of `size` pixels."""
    crop_from_source = CropTransform(quad, size).crop_from_source.tolist()
    return [[a, b, a * window.left + b * window.top + c] for a, b, c in crop_from_source]


def _moments(lab: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of each channel: (1, 3, 1, 1)."""
    total = weight.sum().clamp(min=1e-6)
    mean = (lab * weight).sum(dim=(2, 3), keepdim=True) / total
    variance = ((lab - mean) ** 2 * weight).sum(dim=(2, 3), keepdim=True) / total
    return mean, variance.sqrt()


def _bounds(quad: Points) -> _Window:
    xs, ys = zip(*quad, strict=True)
    return _Window(math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)) + 1, math.ceil(max(ys)) + 1)


def _checked_side(quad: Points, picture: _Window) -> float:
    """The quad's side in pixels, once it is known to be a square that meets the picture."""
    (nw, sw, se, ne) = quad
    side_px = math.dist(nw, ne)
    slack = 1e-2 * side_px + 1e-3
    square = math.dist((nw[0] + se[0], nw[1] + se[1]), (sw[0] + ne[0], sw[1] + ne[1])) < slack
    upright = math.dist((nw[1] - ne[1] + nw[0], ne[0] - nw[0] + nw[1]), sw) < slack
    meets = all(_bounds(quad).within(picture).shape)
    if not (square and upright and meets and 1 <= side_px <= MAX_SIDE_RATIO * max(picture.right, picture.bottom)):
        raise PassportMismatch("the face's place is not in this picture; composite it onto the picture it was cut from")
    return side_px
