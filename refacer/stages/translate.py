"""Translate: the pair's distilled network draws what its look does to a face, for the face's own pixels.

A change is fields (N, 12, h, w): at each place a 3x4 map [A | b] of colour, row by row, x' = A x + b for x in [-1, 1].
They are smooth, so that fields drawn for a crop serve the source's own pixels at any size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.images.resampling import filter_both, gaussian_taps
from refacer.networks.translator import Translator, hue_of, mapped, skin_around
from refacer.options import TranslateOptions
from refacer.stages.change import applied

SKIN = (0.5, 0.57, 0.2)  # where an aligned face is mostly skin: centre and radius, as fractions of the crop's side
BLUR_TRUNCATE = 3.0  # sigmas after which the blur ends
TINT_PX = 64  # side from which a tint is found; it is smooth
LIKE_SKIN = 0.5  # how far a hue may be from the skin's, all three channels together, to be evened with it


@torch.no_grad()
def translate(faces: Tensor, translator: Translator, options: TranslateOptions, maps: Tensor | None = None) -> Tensor:
    """Realistic faces (N, 3, S, S) in [-1, 1] of rendered ones of any size; strength 0 gives them back bit for bit.

    maps: what the network says of them, where that is known (`Translator.maps`).
    """
    return applied(change_fields(faces, translator, options, maps), faces, options.strength)


@torch.no_grad()
def change_fields(
    faces: Tensor, translator: Translator, options: TranslateOptions, maps: Tensor | None = None
) -> Tensor:
    """The whole change of faces (N, 3, S, S) in [-1, 1], as fields (N, 12, S, S).

    What sharpens a face is in their offsets. maps: what the network says of them, where that is known.
    """
    fields = translator.fields(faces, maps)
    fields = _tinted(fields, _tint(fields, faces, options, translator.config.input_px // 4))
    if not options.sharpening:
        return fields
    taps = gaussian_taps(options.fine_frac * faces.shape[-1], BLUR_TRUNCATE, faces.device)
    fine = (faces - filter_both(faces, taps)) * options.sharpening
    rows = fields.unflatten(1, (3, 4))
    return torch.cat([rows[:, :, :3], rows[:, :, 3:] + fine[:, :, None]], 2).flatten(1, 2)


def _tint(fields: Tensor, faces: Tensor, options: TranslateOptions, side_px: int) -> Tensor:
    """The gain of light (N, 3, h, h) that the options want after fields, found in every few of their pixels.

    Of how the hue of the face's mean colour changes `complexion` is taken over. Where the face looks like skin, its own
    change of hue is then nearer to that mean by `evenness`: cheeks that get paler beside temples that stay orange look
    stained. That is found at side_px, so that lips and eyes keep what the network says of them.
    """
    step = max(1, faces.shape[-1] // TINT_PX)
    before, fields = (every.contiguous() for every in (faces[..., ::step, ::step], fields[..., ::step, ::step]))
    after = mapped(fields, before)
    means = [_mean_of_skin(image.clamp(-1, 1) + 1) + 1e-3 for image in (before, after)]
    overall = (hue_of(means[0]) / hue_of(means[1])).pow(1 - options.complexion)
    hue = hue_of(skin_around(((after + 1) * overall - 1).clamp(-1, 1), side_px))
    change = hue / hue_of(skin_around(before, side_px))
    apart = (hue - _mean_of_skin(hue)).abs().sum(1, keepdim=True)
    like_skin = torch.exp(-(apart / LIKE_SKIN).square())
    return overall * (1 + ((_mean_of_skin(change) / change).pow(options.evenness) - 1) * like_skin)


def _tinted(fields: Tensor, gain: Tensor) -> Tensor:
    """Fields (N, 12, H, W) that multiply light, (x + 1) / 2, by a smooth gain (N, 3, h, w) afterwards."""
    gain = F.interpolate(gain, size=fields.shape[2:], mode="bilinear", align_corners=False)[:, :, None]
    rows = fields.unflatten(1, (3, 4)) * gain
    return torch.cat([rows[:, :, :3], rows[:, :, 3:] + gain - 1], 2).flatten(1, 2)


def _mean_of_skin(image: Tensor) -> Tensor:
    """The mean (N, 3, 1, 1) over where an aligned face is mostly skin."""
    size = image.shape[-1]
    place = (torch.arange(size, device=image.device) + 0.5) / size
    x, y, radius = SKIN
    skin = (torch.hypot(place[None, :] - x, place[:, None] - y) < radius).float()
    return (image * skin).sum((2, 3), keepdim=True) / skin.sum()
