"""Change: what the pair does to a face, as a colour map that varies smoothly over it, for the input's own pixels.

R = G_rendering(w+) and P = G_real(w+) are one face in two looks. Instead of P itself, the map from R to P is taken over
(ratio images: Liu, Shan, Zhang 2001), fitted locally by the guided filter (He et al. 2010): what the generators cannot
draw of the input stays. Fields (N, 12, h, w) hold a 3x4 map [A | b] at each place, row by row: x' = A x + b. They are
smooth, so they serve a face of any size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.errors import ShapeMismatch
from refacer.images.color import image_from_lab, lab_from_image
from refacer.images.resampling import Matrix, filter_both, gaussian_taps
from refacer.networks.translator import mapped
from refacer.options import ChangeOptions

BLUR_TRUNCATE = 3.0
BAND_PX = 2**19  # pixels whose fields are held at once


def fields_of_pair(face: Tensor, rendering: Tensor, real: Tensor, options: ChangeOptions) -> Tensor:
    """The change from R to P as fields (1, 12, S, S) for the face x.

    face, rendering, real: (1, 3, S, S) in [-1, 1]. Raises ShapeMismatch where they differ in size.
    """
    if not face.shape == rendering.shape == real.shape:
        sizes = ", ".join(f"{each.shape[-1]}x{each.shape[-2]}" for each in (face, rendering, real))
        raise ShapeMismatch(f"face, rendering and realistic picture are {sizes}; they must be of one size")
    side = face.shape[-1]
    gain, offset = guided(rendering, real, max(round(options.window_frac * side) // 2, 1), options.epsilon)
    offset = offset - options.highlights * _highlights(face, rendering, options)
    missing = _blurred(real - (gain * face + offset), options.tint_frac * side)
    tint = missing - missing.mean(1, keepdim=True)
    trust = match(face, rendering, options.trust_frac * side, options.tint_trust)
    return _diagonal(gain, _warm(gain, offset + options.tint * trust * tint, face, options))


def fields_of_difference(rendering: Tensor, real: Tensor) -> Tensor:
    """What takes one picture exactly to the other, (1, 3, S, S) both, as fields (1, 12, S, S): an offset alone.

    For a face that was made from the picture itself, such as a translated one: there is nothing to fit.
    """
    return _diagonal(torch.ones_like(real), real - rendering)


def _warm(gain: Tensor, offset: Tensor, face: Tensor, options: ChangeOptions) -> Tensor:
    """The offset where no place turns much colder (less red, more blue) than its neighbourhood: lips stay alive."""
    change = (gain - 1) * face + offset
    tint = change - change.mean(1, keepdim=True)
    local = tint - _blurred(tint, options.cold_frac * face.shape[-1])
    red, green, blue = local.split(1, dim=1)
    warm = torch.cat([red.clamp(min=-options.cold_max), green, blue.clamp(max=options.cold_max)], dim=1)
    return offset + warm - local


def _highlights(face: Tensor, rendering: Tensor, options: ChangeOptions) -> Tensor:
    """Light of x that R does not have, up to a limit: what is much brighter is a thing before the face, no light."""
    light = _blurred(face - rendering, options.highlight_frac * face.shape[-1]).clamp(min=0)
    return options.highlight_max * torch.tanh(light / options.highlight_max)


def guided(guide: Tensor, target: Tensor, radius_px: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Gain a and offset b of each channel, (N, C, H, W), with a * guide + b near the target.

    Least squares in windows of 2 radius + 1 pixels, where epsilon (a variance) draws a towards 1, then the mean over
    the windows that hold a pixel.
    """

    def mean(values: Tensor) -> Tensor:
        size = 2 * radius_px + 1
        return F.avg_pool2d(values, size, 1, radius_px, count_include_pad=False)

    guide_mean, target_mean = mean(guide), mean(target)
    variance = (mean(guide * guide) - guide_mean.square()).clamp(min=0)
    covariance = mean(guide * target) - guide_mean * target_mean
    gain = (covariance + epsilon) / (variance + epsilon)
    return mean(gain), mean(target_mean - gain * guide_mean)


def applied(fields: Tensor, image: Tensor, strength: float = 1.0) -> Tensor:
    """The image (N, 3, H, W) in [-1, 1] under the fields (N, 12, h, w), enlarged to it: `strength` times the change.

    Strength 0 gives the image back bit for bit.
    """
    return (image + strength * (mapped(fields, image) - image)).clamp(-1, 1)


def applied_at(fields: Tensor, image: Tensor, fields_from_image: Matrix, strength: float) -> Tensor:
    """`applied` to an image (1, 3, H, W) that sees fields (1, 12, h, w) through an affine map of pixel indices.

    The fields are sampled bicubically, a band of rows at a time; beyond them their outermost values go on.
    """
    height, width = image.shape[2:]
    columns = torch.arange(width, dtype=torch.float64)
    bands = []
    for rows in torch.arange(height, dtype=torch.float64).split(max(1, BAND_PX // width)):
        axes = [
            (per_column * columns[None] + per_row * rows[:, None] + offset + 0.5) * 2 / size - 1
            for (per_column, per_row, offset), size in zip(fields_from_image, reversed(fields.shape[2:]), strict=True)
        ]
        grid = torch.stack(axes, dim=-1)[None].to(fields)
        seen = F.grid_sample(fields, grid, mode="bicubic", padding_mode="border", align_corners=False)
        first = int(rows[0])
        bands.append(applied(seen, image[:, :, first : first + len(rows)], strength))
    return torch.cat(bands, dim=2)


def match(source: Tensor, rendering: Tensor, sigma_px: float, trust: float) -> Tensor:
    """How far R is the picture x itself, from 0 to 1 at each place: (1, 3, H, W) both -> (1, 1, H, W).

    trust: the mean difference over about sigma_px at which it is exp(-1).
    """
    apart = _blurred((source - rendering).abs().mean(1, keepdim=True), sigma_px)
    return torch.exp(-(apart / trust).square())


def kept_tint(changed: Tensor, source: Tensor, weight: Tensor, share: float) -> Tensor:
    """The changed picture with `share` of the source's mean a and b in CIELAB back under the weight.

    changed, source: (1, 3, H, W) in [-1, 1]; weight: (1, 1, H, W). A face must not part from its neck and hands.
    """
    lab = lab_from_image(changed)
    apart = ((lab_from_image(source) - lab) * weight).sum((2, 3), keepdim=True) / weight.sum().clamp(min=1e-6)
    apart[:, 0] = 0
    return image_from_lab(lab + share * apart)


def faded(mask: Tensor, border_frac: float) -> Tensor:
    """A crop's mask (N, 1, M, M) in [0, 1], fading out smoothly towards the crop's border.

    Neck and hair go on beyond the crop: their new look must not end at a line.
    """
    places = (torch.arange(mask.shape[-1], device=mask.device, dtype=mask.dtype) + 0.5) / mask.shape[-1]
    inwards = torch.minimum(places, 1 - places)
    share = (torch.minimum(inwards[:, None], inwards) / border_frac).clamp(max=1)
    return mask * share.square() * (3 - 2 * share)


def _diagonal(gain: Tensor, offset: Tensor) -> Tensor:
    """Fields (N, 12, H, W) of a gain and an offset a channel, (N, 3, H, W) each."""
    rows = torch.cat([torch.diag_embed(gain.movedim(1, -1)).movedim((-2, -1), (1, 2)), offset[:, :, None]], dim=2)
    return rows.flatten(1, 2)


def _blurred(image: Tensor, sigma_px: float) -> Tensor:
    """The image under a Gaussian."""
    return filter_both(image, gaussian_taps(sigma_px, BLUR_TRUNCATE, image.device))
