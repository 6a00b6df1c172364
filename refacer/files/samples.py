"""An opened picture's samples as an array: upright, RGB(A), in the file's own depth.

Pillow reads 16-bit colour as 8 bit: those pixels come through cv2, and Pillow's are the check on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from refacer.errors import InputRefused
from refacer.files import png
from refacer.files.decoding import Decoded, decoding
from refacer.files.deep import decode_deep
from refacer.files.icc import is_profile
from refacer.files.spaces import FLAGS, INTENT

Native = NDArray[np.uint8] | NDArray[np.uint16]
"""A picture in its own depth: (H, W, 3 or 4), uint8 or uint16, upright, RGB(A)."""

CONVERTED = ("CMYK", "LAB")
"""Pillow's modes of pixels that are read as sRGB."""

_PIXELS_AT_ONCE = 2**20
_BITS_16 = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_8 = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_GREY = ("1", "L", "LA", "La", *_BITS_16)
_LOW_BITS = {"1": 255, "L;2": 85, "L;4": 17}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 258, 262, 284


def native_of(picture: Decoded) -> Native:
    """(H, W, 3 or 4), uint8 or uint16, upright; raises InputRefused for samples of a kind that is not supported."""
    with decoding(picture.format):
        return _deep(picture) if _is_deep(picture) else turned(picture, _plain(picture))


def is_grey(picture: Decoded) -> bool:
    """Whether the file's pixels have one colour channel, with alpha or without; a palette of greys has three."""
    return picture.image.mode in _GREY or picture.raw_mode.startswith("LA")  # Pillow makes RGBA of 16 bits


def own_channels(native: NDArray[Any], *, grey: bool) -> NDArray[Any]:
    """(H, W, 3 or 4) -> (H, W, 1 or 2), one colour channel in place of three, for a picture that has one."""
    return np.ascontiguousarray(native[..., 2:]) if grey else native


def pillow_image(stored: NDArray[Any]) -> Image.Image:
    """(H, W, 1 to 4) -> a picture for Pillow: L, LA, RGB or RGBA with 8 bits, I;16 with 16."""
    return Image.fromarray(stored[..., 0] if stored.shape[2] == 1 else stored)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror (H, W, ...) rows as EXIF's orientation 1 to 8 asks (Exif 2.32, tag 274)."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if orientation >= 5 else pixels)


def turned(picture: Decoded, pixels: NDArray[Any]) -> NDArray[Any]:
    """Upright rows of what Pillow or cv2 read; a TIFF, and only a TIFF, they turn by themselves."""
    return pixels if picture.format == "TIFF" else upright(pixels, picture.orientation)


def bands(height: int, width: int) -> Iterator[slice]:
    """All rows of a picture, about a million pixels at a time: what is made of them on the way is never whole."""
    rows = max(1, _PIXELS_AT_ONCE // max(1, width))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def eight_bit(native: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, C) samples scaled to 0..255, rounded; 8-bit ones as they are."""
    if native.dtype == np.uint8:
        return native
    scaled = np.empty(native.shape, np.uint8)
    for band in bands(*native.shape[:2]):
        scaled[band] = (native[band].astype(np.uint32) + 128) // 257
    return scaled


def flattened(native: NDArray[Any], background: int) -> NDArray[np.uint8]:
    """(H, W, 3 or 4) of either depth -> (H, W, 3) uint8 over a plain grey."""
    if native.shape[2] == 3:
        return eight_bit(native)
    flat = np.empty((*native.shape[:2], 3), np.uint8)
    for band in bands(*native.shape[:2]):
        pixels = eight_bit(native[band]).astype(np.uint16)
        color, alpha = pixels[..., :3], pixels[..., 3:]
        flat[band] = (color * alpha + background * (255 - alpha) + 127) // 255  # at most 255 * 255 + 127
    return flat


def _plain(picture: Decoded) -> NDArray[Any]:
    """(H, W, 3 or 4) of what Pillow reads in full depth: 16-bit grey, and everything with 8 bits or fewer."""
    image = picture.image
    if image.mode.startswith("I;16") and picture.raw_mode in _BITS_16:
        return _grey16(picture)
    if image.mode in CONVERTED:
        image = _converted(image, picture.icc)
    if image.mode not in _BITS_8:
        raise InputRefused(f"{image.mode} pixels are not supported; save it as RGB with 8 or 16 bits")
    if picture.raw_mode in _LOW_BITS and isinstance(picture.key, int):  # Pillow scales samples, not keys
        image.info["transparency"] = min(255, picture.key * _LOW_BITS[picture.raw_mode])
    mode = "RGBA" if image.has_transparency_data or image.mode == "La" else "RGB"
    pixels = np.empty((image.height, image.width, len(mode)), np.uint8)
    for band in bands(image.height, image.width):
        part = image.crop((0, band.start, image.width, band.stop))
        part = part.convert("LA") if image.mode == "La" else part
        pixels[band] = np.asarray(part if part.mode == mode else part.convert(mode))
    return pixels


def _grey16(picture: Decoded) -> NDArray[np.uint16]:
    """16-bit grey as RGB, or as RGBA where one value is declared transparent."""
    grey = np.asarray(picture.image).astype(np.uint16)
    if picture.tag(_PHOTOMETRIC) == 0:  # 0 is white
        grey = np.invert(grey)
    alpha = [] if picture.key is None else [np.where(grey == picture.key, 0, 65535).astype(np.uint16)]
    return np.stack([grey, grey, grey, *alpha], axis=2)


def _converted(image: Image.Image, icc: object) -> Image.Image:
    """CMYK or Lab to sRGB: CMYK through its profile, plainly where there is none that fits."""
    lab = image.mode == "LAB"
    if not lab and not is_profile(icc, b"CMYK"):
        return image.convert("RGB")
    try:
        profile = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(BytesIO(cast(bytes, icc)))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, profile, srgb, INTENT, "RGB", flags=FLAGS)
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return converted or image.convert("RGB")


def _is_deep(picture: Decoded) -> bool:
    """Whether the file holds 16 bits of colour, of which Pillow kept 8."""
    if picture.image.mode not in ("RGB", "RGBA"):
        return False
    return ";16" in picture.raw_mode or 16 in np.atleast_1d(picture.tag(_BITS_PER_SAMPLE, 8))


def _deep(picture: Decoded) -> NDArray[np.uint16]:
    """(H, W, 3 or 4) uint16, upright; InputRefused where cv2 and Pillow do not see the same picture."""
    if picture.tag(_PLANAR) == 2:
        raise InputRefused("a 16-bit TIFF stored plane by plane is not supported; save it interleaved")
    data = png.read_png(picture.data, key=False).pixels if picture.png else picture.data
    image = picture.image
    decoded = decode_deep(data, image.width * image.height)[..., : len(image.mode)]
    pixels = turned(picture, decoded)
    if picture.raw_mode.startswith("RGBa"):
        return _unmultiplied(pixels)
    if not _agree(decoded, image):
        raise InputRefused("this kind of 16-bit picture cannot be read safely; save it as a plain RGB PNG")
    return np.ascontiguousarray(pixels) if picture.key is None else _keyed(pixels, picture.key)


def _agree(deep: NDArray[np.uint16], image: Image.Image) -> bool:
    """Whether samples of 16 bits begin with the 8 that Pillow read."""
    return deep.shape[:2] == (image.height, image.width) and all(
        np.array_equal(deep[band] >> 8, np.asarray(image.crop((0, band.start, image.width, band.stop))))
        for band in bands(image.height, image.width)
    )


def _keyed(pixels: NDArray[np.uint16], key: object) -> NDArray[np.uint16]:
    """RGB with one transparent colour -> RGBA."""
    clear = (pixels == np.array(key, np.uint16)).all(axis=2)
    return np.dstack([pixels, np.where(clear, 0, 65535).astype(np.uint16)])


def _unmultiplied(pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Colours that were multiplied by alpha -> colours beside alpha."""
    alpha = pixels[..., 3:].astype(np.float64)
    color = np.rint(pixels[..., :3] * (65535 / np.maximum(alpha, 1))).clip(0, 65535)
    return np.dstack([color.astype(np.uint16), pixels[..., 3]])
