"""Translate: the pair's distilled network draws what its look does to a face, for the face's own pixels.

A change is fields (N, 12, h, w): at each place a 3x4 map [A | b] of colour, row by row, x' = A x + b for x in [-1, 1].
They are smooth, so that fields drawn for a crop serve the source's own pixels at any size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refacer.images.resampling import filter_both, gaussian_taps
from refacer.networks.translator import Translator, mapped
from refacer.options import TranslateOptions
from refacer.stages.change import applied

SKIN = (0.5, 0.57, 0.2)  # where an aligned face is mostly skin: centre and radius, as fractions of the crop's side
BLUR_TRUNCATE = 3.0  # sigmas after which the blur ends


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
    fields = translator(faces) if maps is None else translator.fields(maps, faces)
    if options.complexion != 1:
        fields = _with_complexion(fields, faces, options.complexion)
    if not options.sharpening:
        return fields
    taps = gaussian_taps(options.fine_frac * faces.shape[-1], BLUR_TRUNCATE, faces.device)
    fine = torch.cat([face - filter_both(face, taps) for face in faces.split(1)]) * options.sharpening
    rows = fields.unflatten(1, (3, 4))
    return torch.cat([rows[:, :, :3], rows[:, :, 3:] + fine[:, :, None]], 2).flatten(1, 2)


def _with_complexion(fields: Tensor, faces: Tensor, share: float) -> Tensor:
    """Fields that take over `share` of how the hue of the face's mean colour changes, and all of how bright it gets."""
    size = faces.shape[-1]
    place = (torch.arange(size, device=faces.device) + 0.5) / size
    x, y, radius = SKIN
    skin = (torch.hypot(place[None, :] - x, place[:, None] - y) < radius).float()
    before, after = (
        ((image.clamp(-1, 1) + 1) * skin).sum((2, 3)) / skin.sum() + 1e-3 for image in (faces, mapped(fields, faces))
    )
    hues = [color / color.mean(1, keepdim=True) for color in (before, after)]
    gain = (hues[0] / hues[1]).pow(1 - share)[:, :, None, None, None]
    rows = fields.unflatten(1, (3, 4)) * gain
    return torch.cat([rows[:, :, :3], rows[:, :, 3:] + gain - 1], 2).flatten(1, 2)
