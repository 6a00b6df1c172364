"""Examples of the change that a translator learns: a rendering and what the pair makes of it, aligned to the pixel.

The pair draws as many as are wanted: G_rendering(w+) and G_real(w+) of random and mixed codes. What real renders have
and generators do not draw is added on the way: fine detail, glints, other light, an aligner's errors.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.networks.stylegan2.networks import Generator
from refacer.options import DisturbOptions
from refacer.training.latents import mixed_codes

DETAIL_PX = 2  # at the translator's size, 1/64 of a face: what is finer is detail that generators do not draw
VIEW_FRAC = 0.75  # of the picture's side, that of what the discriminator sees
COLOR_FRAC = 1 / 8  # of what is seen, that of a square whose colour is seen
VIEW_SCALE, VIEW_SHIFT = (0.55, 0.75), 0.25  # the piece's share of the picture's side; how far off its middle


class Translations(NamedTuple):
    """Renderings and their photographs, (N, 3, R, R) in [-1, 1] each."""

    rendering: Tensor
    photo: Tensor


@torch.no_grad()
def drawn(
    rendering: Generator,
    real: Generator,
    count: int,
    psi: tuple[float, float],
    random: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Translations:
    """Both looks of `count` random codes: two styles, mixed at a random layer, towards the mean by a random psi."""
    ws = mixed_codes(rendering, count, psi, random)
    looks = (network.synthesis(ws, noise_mode="const", dtype=dtype).clamp(-1, 1) for network in (rendering, real))
    return Translations(*looks)


def disturbed(
    pictures: Translations, renders: Tensor, options: DisturbOptions, random: torch.Generator
) -> Translations:
    """The same examples as a real render would show them: both sides moved, lit and detailed alike.

    Glints are on the rendering alone: a photograph of skin has none. renders: (N, 3, R, R), any real renders.
    """
    count, size = renders.shape[0], renders.shape[-1]
    rendering, photo = moved(pictures, options, random)
    detail = fine_detail(renders) * _uniform(random, count, 0, options.detail, 1, 1, 1)
    light = lights(count, size, options, random)
    glints = glints_on(rendering, options, random)
    rendering = ((rendering + detail + 1) * light - 1 + glints).clamp(-1, 1)
    return Translations(rendering, ((photo + detail + 1) * light - 1).clamp(-1, 1))


def typical(renders: Tensor, options: DisturbOptions, random: torch.Generator) -> Tensor:
    """Real renders (N, 3, R, R) moved and lit as examples are."""
    placed, _ = moved(Translations(renders, renders), options, random)
    return ((placed + 1) * lights(len(renders), renders.shape[-1], options, random) - 1).clamp(-1, 1)


def fine_detail(pictures: Tensor) -> Tensor:
    """Pictures less the means of their squares of DETAIL_PX, smoothly enlarged."""
    coarse = F.avg_pool2d(pictures, DETAIL_PX)
    return pictures - F.interpolate(coarse, size=pictures.shape[2:], mode="bilinear", align_corners=False)


def moved(pictures: Translations, options: DisturbOptions, random: torch.Generator) -> Translations:
    """Both turned, scaled, shifted and mirrored alike; reflected at the border."""
    count = len(pictures.rendering)
    turn, scale = (_uniform(random, count, -most, most) for most in (options.turn_rad, options.scale))
    across, down = (_uniform(random, count, -2 * options.shift, 2 * options.shift) for _ in range(2))  # of [-1, 1]
    mirror = torch.where(_uniform(random, count, -1, 1) < 0, -1.0, 1.0)
    cosine, sine = turn.cos() * (1 + scale), turn.sin() * (1 + scale)
    rows = [torch.stack([cosine * mirror, -sine, across], 1), torch.stack([sine * mirror, cosine, down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(pictures.rendering.shape), align_corners=False)
    looks = (F.grid_sample(each, grid, padding_mode="reflection", align_corners=False) for each in pictures)
    return Translations(*looks)


def lights(count: int, size: int, options: DisturbOptions, random: torch.Generator) -> Tensor:
    """What light is multiplied by, about black: an exposure, a tint, a smooth unevenness. (N, 3, size, size)."""
    exposure = _uniform(random, count, *options.exposure, 1, 1, 1)
    tint = 1 + _uniform(random, count, -options.tint, options.tint, 3, 1, 1)
    coarse = _uniform(random, count, -1, 1, 1, 3, 3) * _uniform(random, count, 0, options.uneven, 1, 1, 1)
    return exposure * tint * (1 + F.interpolate(coarse, (size, size), mode="bilinear", align_corners=True))


def glints_on(faces: Tensor, options: DisturbOptions, random: torch.Generator) -> Tensor:
    """Light that a polished face throws back: white blobs, some long, in the middle of each face, (N, 1, R, R).

    The darker what they lie on, the weaker.
    """
    count, size = faces.shape[0], faces.shape[-1]
    place = (torch.arange(size, device=faces.device) + 0.5) / size
    down, across = place[:, None], place[None, :]
    brightest = faces.new_zeros(count, 1, size, size)
    for _ in range(options.glints):
        x, y = (_uniform(random, count, 0.22, 0.78, 1, 1, 1) for _ in range(2))
        angle = _uniform(random, count, 0, math.pi, 1, 1, 1)
        length = _uniform(random, count, *options.glint_frac, 1, 1, 1)
        width = length * _uniform(random, count, 0.25, 1, 1, 1, 1)
        along = ((across - x) * angle.cos() + (down - y) * angle.sin()) / length
        aside = ((down - y) * angle.cos() - (across - x) * angle.sin()) / width
        height = _uniform(random, count, -options.glint, options.glint, 1, 1, 1).clamp(min=0)  # half of them are none
        brightest = torch.maximum(brightest, height * torch.exp(-0.5 * (along.square() + aside.square())))
    return brightest * ((faces.mean(1, keepdim=True) + 1) / 2).clamp(0.15, 1)


def views(faces: Tensor, random: torch.Generator) -> Tensor:
    """Random pieces of faces as a discriminator sees them, (N, 3, V, V).

    Each through a random exposure, tint, blur and noise, so that none of these tells the looks apart. Colour is seen
    coarsely: how a face is shaded is one thing, its complexion another, and stains are neither.
    """
    count, side = faces.shape[0], round(VIEW_FRAC * faces.shape[-1])
    scale = _uniform(random, count, *VIEW_SCALE)
    theta = torch.zeros(count, 2, 3, device=faces.device)
    theta[:, 0, 0] = scale * torch.where(_uniform(random, count, -1, 1) < 0, -1.0, 1.0)
    theta[:, 1, 1] = scale
    theta[:, :, 2] = _uniform(random, count, -VIEW_SHIFT, VIEW_SHIFT, 2)
    grid = F.affine_grid(theta, [count, 3, side, side], align_corners=False)
    seen = F.grid_sample(faces, grid, padding_mode="reflection", align_corners=False)
    light = _uniform(random, count, 0.85, 1.15, 1, 1, 1) * _uniform(random, count, 0.96, 1.04, 3, 1, 1)
    seen = _coarsely_colored((seen + 1) * light - 1)
    blurred = F.avg_pool2d(F.pad(seen, (1, 1, 1, 1), mode="replicate"), 3, 1)
    seen = torch.lerp(seen, blurred, _uniform(random, count, 0.3, 1, 1, 1, 1))
    noise = torch.randn(seen.shape, generator=random, device=faces.device)
    return seen + noise * _uniform(random, count, 0.02, 0.06, 1, 1, 1)


def _coarsely_colored(pictures: Tensor) -> Tensor:
    """The same brightness, each colour's difference from it as the mean of a square of COLOR_FRAC."""
    grey = pictures.mean(1, keepdim=True)
    coarse = F.avg_pool2d(pictures - grey, round(COLOR_FRAC * pictures.shape[-1]))
    return grey + F.interpolate(coarse, size=pictures.shape[2:], mode="bilinear", align_corners=False)


def _uniform(random: torch.Generator, count: int, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(count, *shape, generator=random, device=random.device) * (high - low) + low
