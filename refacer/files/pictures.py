"""Reading pictures: the source of a face, and a mask."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refacer.errors import InputRefused, RefacerWarning, ShapeMismatch
from refacer.files import png
from refacer.files.decoding import Decoded, open_picture
from refacer.files.icc import is_profile
from refacer.files.passports import png_passport, read_sidecar
from refacer.files.samples import CONVERTED, Native, bands, eight_bit, flattened, is_grey, native_of
from refacer.files.spaces import Space, colorless_chunks, returned, space_of, srgb_of
from refacer.files.streams import read_bytes, shown
from refacer.types import Passport, Rgb, SourceInfo

MID_GREY = 128
"""What stages see behind transparent pixels."""


@dataclass(frozen=True, eq=False)
class Source:
    """A picture in its own depth, with what travels beside its pixels.

    native: (H, W, 3 or 4) uint8 or uint16, upright, RGB(A). icc: of these pixels, or of grey ones; space: the colours
    they stand for by it or by `color`, None for sRGB. exif: a TIFF structure without prefix, GPS, orientation and
    thumbnail removed. format: 'PNG', 'JPEG', 'WEBP', 'TIFF', 'AVIF', 'BMP' or 'TGA'. color: chunks of a PNG on gamma,
    primaries and pixel size. rendering: a PNG that a decoded face's PNG carries, not read yet (`read_rendering`).
    grey: whether the file has one colour channel; its results have one, too.
    """

    native: Native
    icc: bytes | None = None
    exif: bytes | None = None
    format: str = "PNG"
    passport: Passport | None = None
    color: tuple[png.Chunk, ...] = ()
    rendering: bytes | None = None
    grey: bool = False
    space: Space | None = None

    @cached_property
    def srgb(self) -> Native:
        """The same pixels in sRGB, their alpha beside them: (H, W, 3 or 4), 16 bits where they had to be converted."""
        return self.native if self.space is None else srgb_of(self.space, self.native)

    @cached_property
    def rgb(self) -> Rgb:
        """What the stages look at: (H, W, 3) uint8 in sRGB, transparent pixels over mid grey."""
        return flattened(self.srgb, MID_GREY)

    def returned(self, before: NDArray[Any], srgb: NDArray[Any]) -> NDArray[Any]:
        """A region that was finished in sRGB, (h, w, 3), in the samples of this picture; before: those that were there.

        Only for a picture with a space of its own.
        """
        assert self.space is not None
        after = returned(self.space, before, srgb)
        return after[..., 1:2].repeat(3, axis=2) if self.colorless else after

    @property
    def has_alpha(self) -> bool:
        """Whether the pixels have an alpha channel."""
        return self.native.shape[2] == 4

    @cached_property
    def colorless(self) -> bool:
        """Whether all its pixels are greys, in whatever mode: what is drawn into it is, too."""
        red, green, blue = (self.native[..., channel] for channel in range(3))
        return self.grey or (np.array_equal(red, green) and np.array_equal(green, blue))

    @property
    def depth(self) -> int:
        """Bits a sample: 8 or 16."""
        return self.native.dtype.itemsize * 8

    @cached_property
    def info(self) -> SourceInfo:
        """Size and sha256 of the pixels; an opaque alpha channel and 8 bits stored as 16 do not change it."""
        height, width = self.native.shape[:2]
        pixels = _canonical(self.native)
        digest = hashlib.sha256(f"{pixels.dtype.name} {pixels.shape}".encode())
        digest.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data)
        return SourceInfo(width, height, digest.hexdigest())


def read_source(data: Path | bytes, *, max_pixels: int, name: str | None = None) -> Source:
    """Read a file of any of the kinds in READABLE: its first picture, upright; a TIFF's reduced pages count for none.

    What of the file is left out, pages, frames or channels, is said in a RefacerWarning.
    A picture on disk without a passport inside has the one of its sidecar. `name` stands in messages instead of the
    path or "stdin". Raises InputRefused for what cannot be decoded or has more than `max_pixels`, UsageError for no
    file.
    """
    try:
        picture = open_picture(read_bytes(data), max_pixels)
        native, passport = _without_empty_alpha(picture, native_of(picture)), _passport(picture)
    except InputRefused as error:
        raise InputRefused(_prefixed(name or shown(data), error)) from error
    if passport is None and not isinstance(data, bytes):
        passport = read_sidecar(data)
    for told in _left_out(picture, native):
        warnings.warn(f"{name or shown(data)}: {told}", RefacerWarning, stacklevel=2)
    parts, grey = picture.png, is_grey(picture)
    color, rendering = picture.color, parts.rendering if parts else None
    icc = _profile(picture, grey=grey)
    space = space_of(icc, color)
    if space is not None and not space.returns:
        native, icc, color, space = srgb_of(space, native, native.dtype), None, colorless_chunks(color), None
    return Source(native, icc, picture.exif, picture.format, passport, color, rendering, grey, space)


def in_srgb(source: Source, native: Native) -> tuple[Source, Native]:
    """A picture and finished pixels of it in sRGB, of the same depth, with nothing that tells another space."""
    if source.space is not None:
        native = srgb_of(source.space, native, native.dtype)
    return replace(source, icc=None, color=colorless_chunks(source.color), space=None), native


def read_rendering(source: Source, name: str) -> Rgb | None:
    """The rendering generator's picture that travels inside a face's PNG, (S, S, 3) uint8; None where there is none.

    It is trusted no more than any other picture. Raises InputRefused where it is damaged, ShapeMismatch where it is not
    as large as the face.
    """
    if source.rendering is None:
        return None
    height, width = source.native.shape[:2]
    inner = read_source(source.rendering, max_pixels=height * width, name=f"{name}: the rendering inside")
    if inner.format != "PNG" or inner.native.dtype != np.uint8:
        raise InputRefused(f"{name}: the rendering inside is no PNG of 8 bits; decode the code again")
    if inner.native.shape[:2] != (height, width):
        told = f"{inner.native.shape[1]}x{inner.native.shape[0]} for a face of {width}x{height}"
        raise ShapeMismatch(f"{name}: the rendering inside is {told}; decode the code again")
    return inner.rgb


def read_mask(data: Path | bytes, *, max_pixels: int) -> tuple[NDArray[np.bool_], Passport | None]:
    """(H, W) bool: where a picture is brighter than 127 and not transparent. Raises as `read_source` does."""
    source = read_source(data, max_pixels=max_pixels)
    pixels = eight_bit(source.native)
    luma = pixels[..., :3] @ np.array([299, 587, 114], np.uint32)  # ITU-R BT.601, in thousandths
    mask = luma > 127_000
    return (mask & (pixels[..., 3] > 127) if source.has_alpha else mask), source.passport


def _passport(picture: Decoded) -> Passport | None:
    """The passport inside a picture: only PNG has a place for it."""
    return png_passport(picture.png) if picture.png else None


def _without_empty_alpha(picture: Decoded, native: Any) -> Native:
    """A sample of no stated meaning is no alpha where it is 0 everywhere: nothing would be seen."""
    empty = picture.tiff and picture.tiff.unnamed and native.shape[2] == 4 and not native[..., 3].any()
    return np.ascontiguousarray(native[..., :3]) if empty else native


def _left_out(picture: Decoded, native: Native) -> Iterator[str]:
    """What a user should know of a file that holds more than the picture, in words."""
    if picture.further:
        yield f"holds {picture.further + 1} pictures (pages or frames); one is taken, the others are left out"
    if picture.bits > native.itemsize * 8:
        yield f"has {picture.bits} bits a sample; {native.itemsize * 8} of them are read"
    if picture.tiff is None:
        return
    spare = picture.tiff.spare
    if picture.tiff.unnamed and native.shape[2] == 4 and native[..., 3].min() < np.iinfo(native.dtype).max:
        yield "does not say what its last channel is; it is taken for transparency"
    elif picture.tiff.unnamed and native.shape[2] == 3:
        spare += 1
    if spare:
        yield f"{spare} channels beyond colour and transparency are left out"


def _profile(picture: Decoded, *, grey: bool) -> bytes | None:
    """The profile that goes with the pixels as they were read: what was converted to sRGB has none any more."""
    icc, wanted = picture.icc, (b"GRAY", b"RGB ") if grey else (b"RGB ",)
    fits = picture.image.mode not in CONVERTED and any(is_profile(icc, space) for space in wanted)
    return icc if isinstance(icc, bytes) and fits else None


def _canonical(native: Native) -> Native:
    """The same picture in the smallest of the forms that show it."""
    rows = [*bands(*native.shape[:2])]
    if native.dtype == np.uint16 and all(np.array_equal(native[band], (native[band] >> 8) * 257) for band in rows):
        native = eight_bit(native)
    opaque = native.shape[2] == 4 and bool((native[..., 3] == np.iinfo(native.dtype).max).all())
    return native[..., :3] if opaque else native


def _prefixed(name: str, error: InputRefused) -> str:
    """The message with the file's name in front, once."""
    return str(error) if str(error).startswith(f"{name}:") else f"{name}: {error}"
