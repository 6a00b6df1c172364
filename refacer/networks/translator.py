"""The translator: one look at a face gives the local change of colour that makes a rendering a photograph.

It sees the face at 128² and draws a grid of affine maps of colour, which is enlarged smoothly and applied to the face's
own pixels, at whatever size (after deep bilateral learning, Gharbi et al. 2017). What a map cannot say, a glint in an
eye, a strand of hair, an earring, is in the pixels and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.errors import ShapeMismatch, UsageError
from refacer.images.resampling import filter_both, gaussian_taps, resized

FIELDS = 12
"""Values of a map: a row of three factors and an offset for each of red, green and blue."""

RANGE_LEVELS = 101  # percentiles that are kept, from least to most
RANGE_SHRINKAGE = 0.01  # of the mean variance, added to every feature's
RANGE_BATCH = 16
WHITE_FROM = 0.5  # brightness above which a colour begins to be washed out
SURROUNDINGS_FRAC = 0.1  # of the picture's side, twice
SKIN_FRAC = 0.16  # the same for the skin that a pixel is compared with
NEAR_LIGHT = 0.35  # natural logarithm of light: what differs by more from the mean around is no skin
STRONG_SHINE = 0.3  # light in [0, 1] from which a highlight has no hue of its own
DARKEST = 0.02  # light of black, in [0, 1]
TRUSTED_SHARE = 0.3  # of the surroundings, at least, must be darker for their hue to count whole
KEPT_SHADING = ((0.5, 0.56, 0.1), (0.5, 0.74, 0.12))  # nose and mouth of FFHQ's crop: centre and radius, of its side
EYES = ((0.4, 0.47, 0.09), (0.6, 0.47, 0.09))  # the same of both eyes, turned heads included
COLD = (0.15, 0.35)  # blue less red beside the skin's, each by the mean of all: from where to where a hue is an eye's
DARK, DARK_KEEPS = (0.5, 1.0), 0.7  # natural logarithm of the skin's light by an eye's: the same; share of its own hue
SHADE_FRAC, SHADE_TRUNCATE = 1 / 64, 3.0  # by which shade is smoothed: sigma, of the picture's side, and where it ends
EDGE_FRAC = 0.04  # over which such places fade
NEGATIVE_SLOPE = 0.1  # of the leaky ReLUs


@dataclass(frozen=True)
class TranslatorConfig:
    """The translator's sizes.

    input_px: side at which a face is seen, a multiple of 16; channels: of the layers from input_px / 2 to
    input_px / 16; light is drawn at input_px / light_scale, 4 or 2. Limits, for colours in [-1, 1]: slope and offset,
    how far a map of colour may be from the identity; gain and shade, how far light may be multiplied and shifted.
    """

    input_px: int = 128
    channels: tuple[int, int, int, int] = (24, 48, 80, 128)
    light_scale: int = 2
    slope_limit: float = 0.8
    offset_limit: float = 1.0
    gain_limit: float = 0.6
    shade_limit: float = 0.8
    dull_limit: float = 0.7

    def to_dict(self) -> dict[str, Any]:
        """The sizes as a file keeps them."""
        return {**asdict(self), "channels": list(self.channels)}

    def __post_init__(self) -> None:
        if self.input_px < 32 or self.input_px % 16:
            raise UsageError(f"a translator cannot look at {self.input_px} pixels; they must be a multiple of 16")
        if self.light_scale not in (2, 4):
            raise UsageError(f"a translator cannot draw light at 1/{self.light_scale} of its input; at 1/4 or 1/2")


class Translator(nn.Module):
    """Faces (N, 3, S, S) to fields of affine maps (N, 12, S, S).

    Colour changes slowly over a face: its maps are drawn at input_px / 8. Light, what shines and what lies in shade,
    is multiplied and shifted at input_px / 4 or finer, grey alone, so that no stain can come of it. Where a highlight
    has clipped, the hue of its surroundings is given back before (`lost_color`); then a share of what is brighter than
    its surroundings is taken away, pixel by pixel, so that it leaves no trace (`dulled`). At the start, and wherever
    the network has nothing to say, the first is all. It remembers which faces it knows (`remember_range`,
    `strangeness`).
    """

    range_mean: Tensor
    range_whitening: Tensor
    range_levels: Tensor

    def __init__(self, config: TranslatorConfig = TranslatorConfig()) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.down = nn.ModuleList(_Down(i, o) for i, o in zip((3, *widths[:-1]), widths, strict=True))
        self.middle = nn.Sequential(_Residual(widths[-1]), _Residual(widths[-1]))
        self.context = nn.Linear(widths[-1], widths[-1])
        levels = {4: 2, 2: 3}[config.light_scale]
        self.up = nn.ModuleList(_Up(i, o) for i, o in pairwise(widths[: -levels - 2 : -1]))
        self.color = nn.Conv2d(widths[2], FIELDS, 3, padding=1)
        self.light = nn.Conv2d(widths[-levels - 1], 3, 3, padding=1)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                nn.init.kaiming_normal_(parameter, NEGATIVE_SLOPE)
            elif parameter.ndim == 1:
                nn.init.zeros_(parameter)
        for head in (self.color, self.light):
            nn.init.zeros_(head.weight)
        features = (2 * 2 + 1) * widths[-1]
        self.register_buffer("range_mean", torch.zeros(features))
        self.register_buffer("range_whitening", torch.eye(features))
        self.register_buffer("range_levels", torch.zeros(RANGE_LEVELS))

    @property
    def settings(self) -> dict[str, Any]:
        """What a file says of the network's shape."""
        return self.config.to_dict()

    def forward(self, faces: Tensor) -> Tensor:
        """Draw the change at a single look, as in training; `fields` makes a calmer one of two looks.

        Args:
            faces: (N, 3, S, S) in [-1, 1].

        Returns:
            (N, 12, S, S): row c of the map at a place is channels 4c ... 4c + 3, its last one the offset.
        """
        restored = self._restored(faces)
        return self._fields(self._maps(restored), faces, restored)

    def maps(self, faces: Tensor) -> Tensor:
        """What the network itself has to say of faces: maps of colour, a shade and a dulling, (N, 14, h, h).

        The mean of what it says of a face and of its mirror image, the shade smoothed: what is chance in one look, such
        as a stain on one cheek, is less in two. They lie still on a face, so that those of neighbouring frames may be
        averaged too.
        """
        return self._maps_of_two_looks(self._restored(faces))

    def fields(self, faces: Tensor, maps: Tensor | None = None) -> Tensor:
        """The change that these maps, or their own, make of these very faces; shapes as for `maps` and `forward`."""
        restored = self._restored(faces)
        return self._fields(self._maps_of_two_looks(restored) if maps is None else maps, faces, restored)

    def _maps_of_two_looks(self, restored: Tensor) -> Tensor:
        seen, mirrored = self._maps(torch.cat([restored, restored.flip(3)])).chunk(2)
        color, shade, dulling = ((seen + mirrored.flip(3)) / 2).split((FIELDS, 1, 1), 1)
        taps = gaussian_taps(SHADE_FRAC * shade.shape[-1], SHADE_TRUNCATE, shade.device)
        return torch.cat([color, filter_both(shade, taps), dulling], 1)

    def _maps(self, restored: Tensor) -> Tensor:
        limits = self.config
        skips = self._encoded(restored)
        x = self.middle(skips.pop())
        x = x + self.context(x.mean((2, 3)))[:, :, None, None]
        for_color = for_light = self.up[0](x, skips.pop())
        for up in [*self.up][1:]:
            for_light = up(for_light, skips.pop())
        maps = F.interpolate(self._color_maps(for_color).flatten(1, 2), scale_factor=2, mode="bilinear")
        if limits.light_scale < 4:
            maps = F.interpolate(maps, scale_factor=2, mode="bilinear")
        light, dulling = self.light(for_light).tanh().split((2, 1), 1)
        gain, shade = (light * _where_light_may_change(light)).split(1, 1)
        dulling = dulling.clamp(min=0) * limits.dull_limit
        return torch.cat([maps * (1 + gain * limits.gain_limit), shade * limits.shade_limit, dulling], 1)

    def _fields(self, maps: Tensor, faces: Tensor, restored: Tensor) -> Tensor:
        smooth = F.interpolate(maps, scale_factor=2, mode="bilinear")
        enlarged = F.interpolate(smooth, size=faces.shape[2:], mode="bilinear", align_corners=False)
        maps, shade, dulling = enlarged.split((FIELDS, 1, 1), 1)
        slopes, offsets = (rows := maps.unflatten(1, (3, 4)))[:, :, :3], rows[:, :, 3] + shade
        around = skin_around(restored, self.config.input_px // 4)
        matt = dulled(restored, dulling, around)
        changed = (slopes * matt[:, None]).sum(2) + offsets
        offsets = with_own_eyes(changed, matt, around) - (slopes * faces[:, None]).sum(2)
        return torch.cat([slopes, offsets[:, :, None]], 2).flatten(1, 2)

    def _restored(self, faces: Tensor) -> Tensor:
        """Faces with the hue of what lies under clipped highlights."""
        return faces + lost_color(faces, self.config.input_px // 4)

    def _color_maps(self, features: Tensor) -> Tensor:
        """Maps (N, 3, 4, h, w) within their limits, under which white turns no greener than grey.

        A highlight that clips has no colour to keep.
        """
        raw = self.color(features).tanh().unflatten(1, (3, 4))
        slopes = torch.eye(3, device=raw.device)[None, :, :, None, None] + raw[:, :, :3] * self.config.slope_limit
        rows = torch.cat([slopes, raw[:, :, 3:] * self.config.offset_limit], 2)
        red, green, blue = rows.sum(2).unbind(1)  # of white
        excess = torch.zeros_like(rows)
        excess[:, 1, 3] = (green - (red + blue) / 2).clamp(min=0)
        return rows - excess

    def features(self, faces: Tensor) -> Tensor:
        """What the encoder makes of faces: its last level's means over each quarter, and spread over all, (N, F)."""
        coarse = self._encoded(faces)[-1]
        return torch.cat([F.adaptive_avg_pool2d(coarse, 2).flatten(1), coarse.std((2, 3))], 1)

    def strangeness(self, faces: Tensor) -> Tensor:
        """How far faces (N, 3, S, S) lie from what the network was trained on, (N,): about 1 for one of those.

        The Mahalanobis distance of `features`, divided by the root of their number.
        """
        apart = (self.features(faces) - self.range_mean) @ self.range_whitening
        return apart.square().mean(1).sqrt()

    def share_within(self, strangeness: Tensor) -> Tensor:
        """The share of the faces that `remember_range` was shown that are less strange, in [0, 1]."""
        return torch.searchsorted(self.range_levels, strangeness.contiguous()) / len(self.range_levels)

    @torch.no_grad()
    def remember_range(self, faces: Tensor) -> None:
        """Keep mean and covariance of the features of typical faces (N, 3, S, S), and percentiles of their strangeness.

        Half of them give the one, half the other: no face is measured by itself.
        """
        features = torch.cat([self.features(batch) for batch in faces.split(RANGE_BATCH)])
        known, others = features[::2].double(), faces[1::2]
        covariance = known.T.cov()
        shrunk = covariance + RANGE_SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
        self.range_mean.copy_(known.mean(0))
        self.range_whitening.copy_(torch.linalg.cholesky(torch.linalg.inv(shrunk)))
        found = torch.cat([self.strangeness(batch) for batch in others.split(RANGE_BATCH)])
        levels = torch.linspace(0, 1, len(self.range_levels), device=found.device)
        self.range_levels.copy_(torch.quantile(found, levels))

    def _encoded(self, faces: Tensor) -> list[Tensor]:
        """The levels of the encoder, finest first."""
        if faces.ndim != 4 or faces.shape[1] != 3 or faces.shape[2] != faces.shape[3]:
            raise ShapeMismatch(f"faces have shape {tuple(faces.shape)}; the translator takes (N, 3, S, S)")
        x = resized(faces, self.config.input_px)
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        return levels


def mapped(fields: Tensor, pixels: Tensor) -> Tensor:
    """Pixels (N, 3, H, W) under fields (N, 12, h, w), which are enlarged to them smoothly: A x + b, not clamped."""
    if fields.shape[2:] != pixels.shape[2:]:
        fields = F.interpolate(fields, size=pixels.shape[2:], mode="bilinear", align_corners=False)
    rows = fields.unflatten(1, (3, 4))
    return (rows[:, :, :3] * pixels[:, None]).sum(2) + rows[:, :, 3]


def lost_color(faces: Tensor, side_px: int) -> Tensor:
    """What highlights lack of the colour of what they lie on: (N, 3, S, S) in [-1, 1] -> what to add, as large.

    A highlight that clips is white. Its brightness stays, its hue becomes that of the darker pixels around it, found at
    side_px. Where all around is white, that is a colour, too, and stays.
    """
    small = resized(faces, side_px)
    trusted = 1 - _washed_out(small)
    weight = _surroundings(trusted)
    mean = _surroundings((small + 1) * trusted) / weight.clamp(min=1e-3)
    hue = mean / mean.mean(1, keepdim=True).clamp(min=1e-3)
    known = torch.cat([hue, (weight / TRUSTED_SHARE).clamp(max=1)], 1)
    hue, known = F.interpolate(known, size=faces.shape[2:], mode="bilinear", align_corners=False).split((3, 1), 1)
    wanted = (faces.mean(1, keepdim=True) + 1) * hue - 1
    return (wanted - faces) * known * _washed_out(faces)


def skin_around(faces: Tensor, side_px: int) -> Tensor:
    """The colour of the skin around each pixel: (N, 3, S, S) in [-1, 1] -> as large, light in [0, 1] and DARKEST.

    It is the mean of those pixels within SKIN_FRAC whose light is near the mean there, neither glints nor hair, found
    at side_px.
    """
    small = resized(_light_of(faces), side_px)
    light = small.mean(1, keepdim=True)
    near = torch.exp(-((light.log() - _surroundings(light, SKIN_FRAC).log()) / NEAR_LIGHT).square())
    around = _surroundings(small * near, SKIN_FRAC) / _surroundings(near, SKIN_FRAC)
    return F.interpolate(around, size=faces.shape[2:], mode="bilinear", align_corners=False)


def dulled(faces: Tensor, share: Tensor, around: Tensor) -> Tensor:
    """Faces (N, 3, S, S) in [-1, 1] less a share (N, 1, S, S) in [0, 1] of their shine.

    Shine is how much brighter a pixel is than the skin around it. It is white (the dichromatic model, Shafer 1985), so
    that without it the skin's own colour is left; where it is strong and has clipped, the hue is the surroundings'.
    Whites of eyes and teeth stand out as well: the share has to tell them apart.
    """
    color, skin = _light_of(faces), around.mean(1, keepdim=True)
    shine = (color.mean(1, keepdim=True) - skin).clamp(min=0)
    matt = color - share * shine
    known = around / skin * matt.mean(1, keepdim=True)
    matt = torch.lerp(matt, known, (share * shine / STRONG_SHINE).clamp(0, 1))
    return 2 * (matt - DARKEST) - 1


def with_own_eyes(changed: Tensor, faces: Tensor, around: Tensor) -> Tensor:
    """Changed faces (N, 3, S, S) whose eyes have the hue that they had before: maps of colour are too coarse for them.

    What is colder or much darker than the skin around it, near where FFHQ's alignment puts eyes, is an eye or its
    lashes. Of what is dark a part of the change stays: photographs' irises are a little warmer, too.
    """
    color = _light_of(faces)
    hue, skin = hue_of(color), hue_of(around)
    red, _, blue = (hue - skin).split(1, 1)
    cold = _from_to(blue - red, *COLD)
    dark = _from_to((around.mean(1, keepdim=True) / color.mean(1, keepdim=True)).log(), *DARK)
    own = hue * _light_of(changed).mean(1, keepdim=True)
    kept = torch.maximum(cold, dark * DARK_KEEPS) * _near(changed, EYES)
    return torch.lerp(changed, 2 * (own - DARKEST) - 1, kept)


def _from_to(values: Tensor, least: float, most: float) -> Tensor:
    """0 up to the one, 1 from the other on, a ramp between."""
    return ((values - least) / (most - least)).clamp(0, 1)


def hue_of(colors: Tensor) -> Tensor:
    """Colours (N, 3, H, W) of light by the mean of their three values."""
    return colors / colors.mean(1, keepdim=True)


def _light_of(faces: Tensor) -> Tensor:
    """Values in [-1, 1] as light from DARKEST on, so that it can be divided."""
    return ((faces + 1) / 2).clamp(min=0) + DARKEST


def _where_light_may_change(like: Tensor) -> Tensor:
    """(H, W) in [0, 1] for aligned faces: 0 at nose and mouth.

    Their shading tells who a face is, and how a pair's generators differ there is mostly error: left alone, a fifth of
    the identity is saved at no cost to the look.
    """
    return 1 - _near(like, KEPT_SHADING)


def _near(like: Tensor, spots: Sequence[tuple[float, float, float]]) -> Tensor:
    """(H, W) in [0, 1] for aligned faces: 1 within spots, x, y and radius as fractions of the side, fading outside."""
    height, width = like.shape[2:]
    down = (torch.arange(height, device=like.device)[:, None] + 0.5) / height
    across = (torch.arange(width, device=like.device)[None, :] + 0.5) / width
    beyond = [(torch.hypot(across - x, down - y) - radius) / EDGE_FRAC for x, y, radius in spots]
    return 1 - torch.stack(beyond).amin(0).clamp(0, 1)


def _washed_out(faces: Tensor) -> Tensor:
    """How near white each pixel is: (N, 1, H, W), 0 up to WHITE_FROM, 1 for white."""
    return _from_to(faces.mean(1, keepdim=True), WHITE_FROM, 1)


def _surroundings(values: Tensor, frac: float = SURROUNDINGS_FRAC) -> Tensor:
    """Means over what lies within about `frac` of the picture's side."""
    size = 2 * round(frac * values.shape[-1] / 2) + 1
    for _ in range(2):
        values = F.avg_pool2d(values, size, 1, size // 2, count_include_pad=False)
    return values


class _Down(nn.Module):
    """Half the size: a strided convolution and a plain one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.strided = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.further = nn.Conv2d(outputs, outputs, 3, 1, 1) if inputs > 3 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.strided(x), NEGATIVE_SLOPE)
        return F.leaky_relu(self.further(x), NEGATIVE_SLOPE)


class _Up(nn.Module):
    """Twice the size, with the encoder's level of that size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.join = nn.Conv2d(2 * outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
        return F.leaky_relu(self.join(torch.cat([x, skip], 1)), NEGATIVE_SLOPE)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, NEGATIVE_SLOPE)), NEGATIVE_SLOPE))
