"""The colours that stored samples stand for: to sRGB, which the stages see, and back into the picture's own space.

Told by an ICC profile, or by a PNG's cICP, sRGB, gAMA and cHRM (PNG, third edition, 11.3.2; ITU-T H.273).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from refacer.files import icc as icc_profiles
from refacer.files.icc import BT709_PRIMARIES, D65, LEVELS, SRGB_TO_XYZ, Curves
from refacer.files.png import Chunk

INTENT, FLAGS = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
LIKE_SRGB = 1.0
"""A space whose colours lie within so many levels of 255 of sRGB's is sRGB: profiles round differently."""

SRGB_GAMMA = range(44500, 46500)
"""What PNGs of sRGB say in gAMA, which knows no better: 1 / 2.2."""

_TELLING = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
_ROWS_AT_ONCE = 1 << 20  # pixels
_NITS_OF_WHITE = 203.0  # of an HDR picture's white paper: ITU-R BT.2408

Samples = NDArray[np.uint8] | NDArray[np.uint16]


class Space(Protocol):
    """A space of colours other than sRGB; returns: whether there is a way back into it."""

    @property
    def returns(self) -> bool:
        """Whether samples can be had from sRGB, too."""
        ...

    def to_srgb(self, stored: Samples) -> NDArray[np.uint16]:
        """Stored samples (..., 3) of either depth -> sRGB of 16 bits; what sRGB has no room for is clipped."""
        ...

    def from_srgb(self, srgb: NDArray[np.uint16]) -> NDArray[np.float64]:
        """SRGB (..., 3) of 16 bits -> samples in [0, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class ShaperSpace:
    """A curve a channel, then a matrix (3, 3) from linear light to linear sRGB."""

    curves: Curves
    matrix: NDArray[np.float64]
    returns = True

    def to_srgb(self, stored: Samples) -> NDArray[np.uint16]:
        """See `Space`."""
        flat, curves = stored.reshape(-1, 3), self.curves.astype(np.float32)
        if stored.dtype == np.uint8:
            curves = curves[:, ::257]
        srgb = np.empty(flat.shape, np.uint16)
        for start in range(0, len(flat), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            linear = np.stack([curves[i, flat[part, i]] for i in range(3)], axis=1) @ self.matrix.T.astype(np.float32)
            srgb[part] = np.rint(encoded(linear) * 65535)
        return srgb.reshape(stored.shape)

    def from_srgb(self, srgb: NDArray[np.uint16]) -> NDArray[np.float64]:
        """See `Space`."""
        linear = _SRGB_LIGHT[srgb] @ np.linalg.inv(self.matrix).T
        return np.stack([np.interp(linear[..., i], self.curves[i], LEVELS) for i in range(3)], axis=-1)


@dataclass(frozen=True)
class TableSpace:
    """A profile made of tables, by Little CMS: 8 bits, which are all that Pillow passes on to it."""

    icc: bytes

    @property
    def returns(self) -> bool:
        """Whether the profile has tables for both directions: that of a scanner may not."""
        try:
            transform_of(self.icc, to=False)
        except ValueError:
            return False
        return True

    def to_srgb(self, stored: Samples) -> NDArray[np.uint16]:
        """See `Space`."""
        return self._through(stored if stored.dtype == np.uint8 else (stored.astype(np.uint32) + 128) // 257, to=True)

    def from_srgb(self, srgb: NDArray[np.uint16]) -> NDArray[np.float64]:
        """See `Space`."""
        return self._through((srgb.astype(np.uint32) + 128) // 257, to=False) / 65535

    def _through(self, levels: NDArray[Any], *, to: bool) -> NDArray[np.uint16]:
        rows = levels.astype(np.uint8).reshape(levels.shape[0], -1, 3)
        seen = ImageCms.applyTransform(Image.fromarray(rows), transform_of(self.icc, to=to))
        assert seen is not None
        return np.asarray(seen).reshape(levels.shape).astype(np.uint16) * 257


def space_of(icc: bytes | None, chunks: Sequence[Chunk] = ()) -> Space | None:
    """The space that a profile and a PNG's chunks tell; None for sRGB and where they tell nothing that can be used."""
    told = dict(reversed(chunks))  # the first of a kind counts
    try:
        with np.errstate(all="ignore"):  # what is no number is refused where it would count
            return _told_space(icc, told)
    except (ValueError, KeyError, IndexError, struct.error, np.linalg.LinAlgError):
        return None


def _told_space(icc: bytes | None, told: Mapping[bytes, bytes]) -> Space | None:
    """The space by the first of what tells one; None for sRGB. Raises errors of many kinds for what is damaged."""
    space = _cicp(told[b"cICP"]) if b"cICP" in told else None
    if space is None and icc is not None:
        space = _of_profile(icc)
    elif space is None and b"sRGB" not in told:
        space = _gamma(told.get(b"gAMA"), told.get(b"cHRM"))
    return None if space is None or _is_srgb(space) else space


def returned(space: Space, before: Samples, srgb: NDArray[np.uint16]) -> Samples:
    """A region (..., 3) that was finished in sRGB, in the picture's own space and depth.

    What changes is added to what was there: where nothing changed the samples stay, also those beyond sRGB.
    """
    top = np.iinfo(before.dtype).max
    change = space.from_srgb(srgb) - space.from_srgb(space.to_srgb(before))
    return cast(Samples, np.rint(before + change * top).clip(0, top).astype(before.dtype))


def colorless_chunks(chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """A PNG's chunks without those that tell a space of colours."""
    return tuple(chunk for chunk in chunks if chunk[0] not in _TELLING)


def srgb_of(space: Space, native: NDArray[Any], dtype: Any = np.uint16) -> NDArray[Any]:
    """Native pixels (H, W, 3 or 4) in sRGB, of the depth of `dtype`; their alpha keeps its meaning."""
    srgb = space.to_srgb(native[..., :3])
    if native.shape[2] == 4:
        srgb = np.dstack([srgb, native[..., 3:].astype(np.uint16) * (257 if native.itemsize == 1 else 1)])
    return srgb if dtype == np.uint16 else ((srgb.astype(np.uint32) + 128) // 257).astype(np.uint8)


def encoded(linear: NDArray[Any]) -> NDArray[Any]:
    """Linear light -> sRGB in [0, 1] (IEC 61966-2-1)."""
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055)


def srgb_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """SRGB in [0, 1] -> linear light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=8)
def transform_of(icc: bytes, *, to: bool) -> ImageCms.ImageCmsTransform:
    """From a profile of RGB to sRGB, or back; raises ValueError where Little CMS cannot."""
    try:
        own, srgb = ImageCms.ImageCmsProfile(BytesIO(icc)), ImageCms.createProfile("sRGB")
        start, end = (own, srgb) if to else (srgb, own)
        return ImageCms.buildTransform(start, end, "RGB", "RGB", INTENT, FLAGS)
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError("a profile that cannot be used") from error


def _of_profile(icc: bytes) -> Space:
    """The space of a profile; raises ValueError and others where it cannot be used."""
    shaper = icc_profiles.curves_and_matrix(icc)
    if shaper is None:
        transform_of(icc, to=True)
        return TableSpace(icc)
    return ShaperSpace(shaper[0], _to_linear_srgb(shaper[1]))


def _is_srgb(space: Space) -> bool:
    """Whether a space's colours are those of sRGB, seen at a grid of colours and at every grey."""
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 1, 3)
    greys = np.arange(256, dtype=np.uint8).repeat(3).reshape(-1, 1, 3)
    stored = np.concatenate([grid, greys])
    return float(np.abs(space.to_srgb(stored) / 257 - stored).max()) <= LIKE_SRGB


def _gamma(gamma: bytes | None, chromaticities: bytes | None) -> Space | None:
    """The space of gAMA and cHRM; sRGB stands for what is not told."""
    if gamma is None and chromaticities is None:
        return None
    curve, matrix = _SRGB_LIGHT, SRGB_TO_XYZ
    if gamma is not None:
        (stored,) = struct.unpack(">I", gamma)
        if stored == 0:
            raise ValueError("a gamma of 0")
        curve = _SRGB_LIGHT if stored in SRGB_GAMMA else LEVELS ** (100_000 / stored)
    if chromaticities is not None:
        white, *primaries = np.array(struct.unpack(">8I", chromaticities)).reshape(4, 2) / 100_000
        matrix = icc_profiles.xyz_from_primaries(np.array(primaries), white)
    return _shaper(curve, matrix)


def _cicp(body: bytes) -> Space | None:
    """The space of cICP's primaries, transfer, matrix (0 in a PNG) and range; None for one that is not known here."""
    primaries, transfer, _, full = body[:4]
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    levels = LEVELS if full else ((LEVELS * 255 - 16) / 219).clip(0, 1)
    white, *others = np.array(_PRIMARIES[primaries]).reshape(4, 2)
    return _shaper(_TRANSFERS[transfer](levels), icc_profiles.xyz_from_primaries(np.array(others), white))


def _shaper(curve: NDArray[np.float64], matrix: NDArray[np.float64]) -> ShaperSpace:
    """One curve for all channels, and a matrix to XYZ under D50."""
    return ShaperSpace(np.stack([icc_profiles.never_falling(curve)] * 3), _to_linear_srgb(matrix))


def _to_linear_srgb(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix to XYZ under D50 as one to linear sRGB; raises ValueError where it has no inverse."""
    inner = np.linalg.inv(SRGB_TO_XYZ) @ matrix
    if not np.isfinite(inner).all() or abs(np.linalg.det(inner)) < 1e-6:
        raise ValueError("primaries that span no colours")
    return inner


def _pq(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, as multiples of white paper."""
    power = v ** (32 / 2523)
    light = (np.maximum(power - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)
    return light * (10_000 / _NITS_OF_WHITE)


def _hlg(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100's hybrid log-gamma on a screen of 1000 cd/m², a channel at a time, as multiples of white paper."""
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return scene**1.2 * (1000 / _NITS_OF_WHITE)


_TRANSFERS = {
    **dict.fromkeys((1, 6, 13, 14, 15), srgb_light),
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    8: lambda v: v,
    16: _pq,
    18: _hlg,
}
"""H.273, Table 3: from the signal to linear light. The curves of BT.709 and its like are those of cameras; sRGB's says
better what a screen shows."""

_BT601 = ((0.3127, 0.3290), (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_PRIMARIES: dict[int, Any] = {
    1: (D65, *BT709_PRIMARIES),
    4: ((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: ((0.3127, 0.3290), (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: _BT601,
    7: _BT601,
    9: ((0.3127, 0.3290), (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: ((0.3127, 0.3290), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: ((0.3127, 0.3290), (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""H.273, Table 2: white, red, green, blue."""

_SRGB_LIGHT = srgb_light(LEVELS)
