"""Arrays to files: faces, masks, labels, and the display image with what its source carried."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refacer.errors import OutputNotWritable, UsageError
from refacer.files import metadata, png
from refacer.files.deep import encode_deep_png, encode_tiff
from refacer.files.icc import is_profile
from refacer.files.passports import passport_chunks
from refacer.files.pictures import Source, in_srgb
from refacer.files.samples import Native, eight_bit, flattened, own_channels, pillow_image
from refacer.types import Passport, Rgb

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
_FORMATS = {".png": "PNG", **dict.fromkeys(_JPEG, "JPEG"), ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_MAX_SIDE_PX = {"JPEG": 65_500, "WEBP": 16_383}
_MAX_JPEG_BLOCK_BYTES = 65_000
_WHITE = 255
_WEBP = {"lossless": True, "exact": True, "method": 1, "quality": 50}  # more effort takes time and saves nothing

SUFFIXES = tuple(_FORMATS)
"""Suffixes of the pictures that can be read and written, in lower case."""

LABEL_PALETTE = (
    (0, 0, 0), (255, 205, 170), (139, 69, 19), (205, 102, 29), (0, 90, 255), (0, 200, 255), (128, 128, 128),
    (255, 150, 100), (255, 110, 140), (255, 215, 0), (150, 0, 200), (80, 220, 60), (200, 0, 60), (255, 0, 90),
    (140, 0, 30), (70, 40, 120), (0, 120, 60), (210, 180, 220), (60, 60, 90),
)  # fmt: skip
"""A colour for each of the 19 classes of CelebAMask-HQ, no two alike."""


def format_of(path: Path) -> str | None:
    """The picture format a name asks for: 'PNG', 'JPEG', 'WEBP', 'TIFF' or None."""
    return _FORMATS.get(path.suffix.lower())


def keeps_pixels(format: str, depth: int = 8) -> bool:
    """Whether a format gives back every sample of `depth` bits as it was."""
    return format in ("PNG", "TIFF") or (format == "WEBP" and depth == 8)


def converts(source: Source, format: str) -> bool:
    """Whether a picture is written in sRGB, as the format has no place for what tells its own space, or too few bits.

    Only PNG has chunks that tell it; a profile of grey fits grey alone; linear light needs 16 bits.
    """
    deep, told = source.depth == 16, source.icc is not None and all(kind != b"cICP" for kind, _ in source.color)
    colored = format == "WEBP" or (format == "TIFF" and deep and source.has_alpha)
    if source.grey and colored and is_profile(source.icc, b"GRAY"):
        return True
    return source.space is not None and ((format != "PNG" and not told) or (deep and not keeps_pixels(format, 16)))


def carries_passport(format: str) -> bool:
    """Whether a passport travels inside files of this format; the others need a sidecar."""
    return format == "PNG"


def encode_png(rgb: Rgb, passport: Passport | None, rendering: Rgb | None = None) -> bytes:
    """A face, (H, W, 3) uint8, as PNG; rendering: the other generator's picture of its code, which travels inside."""
    inside = [] if rendering is None else [(png.RENDERING_KIND, _saved_png(Image.fromarray(rendering)))]
    return png.splice(_saved_png(Image.fromarray(rgb)), [*passport_chunks(passport), *inside])


def encode_mask(mask: NDArray[np.bool_], passport: Passport | None) -> bytes:
    """A mask, (H, W) bool, as a grey PNG of 0 and 255."""
    grey = np.where(mask, 255, 0).astype(np.uint8)
    return png.splice(_saved_png(Image.fromarray(grey)), passport_chunks(passport))


def encode_labels(labels: NDArray[np.uint8], passport: Passport | None) -> bytes:
    """Class ids 0 to 18, (H, W) uint8, as a palette PNG."""
    picture = Image.fromarray(labels)
    picture.putpalette([level for color in LABEL_PALETTE for level in color])
    return png.splice(_saved_png(picture), passport_chunks(passport))


def encode_display(native: Native, source: Source, format: str, passport: Passport | None) -> bytes:
    """(H, W, 3 or 4) uint8 or uint16 as 'PNG', 'TIFF', 'WEBP' (lossless, 8 bit) or 'JPEG' (8 bit, no alpha).

    Where the format cannot tell the picture's space of colours (`converts`) all of it is written in sRGB.
    A picture that came with one colour channel is written with one, but as WebP, which has none such.
    Keeps the source's profile and EXIF and adds XMP that says the picture is composited with generated media. The
    passport travels inside a PNG; other formats need a sidecar. Raises UsageError for another format, OutputNotWritable
    for a picture the format has no room for.
    """
    encoders = {"PNG": _display_png, "TIFF": _display_tiff, "WEBP": _display_webp, "JPEG": _display_jpeg}
    if format not in encoders:
        raise UsageError(f"{format}: not a format that can be written; use {', '.join(encoders)}")
    limit = _MAX_SIDE_PX.get(format)
    if limit and max(native.shape[:2]) > limit:
        raise OutputNotWritable(f"a side of {max(native.shape[:2])} px is too long for {format}; write a PNG")
    if converts(source, format):
        source, native = in_srgb(source, native)
    data = encoders[format](native, source)
    return png.splice(data, passport_chunks(passport)) if format == "PNG" else data


def encode_preview(rgb: Rgb, size: tuple[int, int]) -> bytes:
    """A picture, (H, W, 3) uint8, as a small lossy WebP of (width, height) pixels, no larger than itself."""
    small = Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.BOX)
    return _saved(small, "WEBP", quality=80, method=2)


def _display_png(native: NDArray[Any], source: Source) -> bytes:
    """PNG in the picture's depth, with the source's colour chunks."""
    stored = own_channels(native, grey=source.grey)
    plain = _saved_png(pillow_image(stored)) if native.dtype == np.uint8 else encode_deep_png(stored)
    chunks = [png.icc_chunk(source.icc)] if source.icc else []
    chunks += [chunk for chunk in source.color if not (source.icc and chunk[0] == b"sRGB")]
    chunks += [(b"eXIf", source.exif)] if source.exif else []
    return png.splice(plain, [*chunks, png.text_chunk(png.XMP_KEYWORD, metadata.XMP)])


def _display_tiff(native: NDArray[Any], source: Source) -> bytes:
    """TIFF in the picture's depth, with the kept EXIF tags in its own directory.

    Grey of 16 bits with alpha is written as RGBA: hardly anyone reads it.
    """
    grey = source.grey and (native.dtype == np.uint8 or native.shape[2] == 3)
    stored = own_channels(native, grey=grey)
    return encode_tiff(stored, source.icc, metadata.kept_tags(metadata.exif_of(source.exif)), metadata.XMP)


def _display_webp(native: NDArray[Any], source: Source) -> bytes:
    """Lossless WebP; `exact` keeps the colours under transparent pixels."""
    picture = Image.fromarray(eight_bit(native))
    return _saved(picture, "WEBP", icc_profile=source.icc, **_WEBP, **_beside(source))


def _display_jpeg(native: NDArray[Any], source: Source) -> bytes:
    """JPEG with full colour resolution, transparent pixels on white."""
    picture = pillow_image(own_channels(flattened(native, _WHITE), grey=source.grey))
    beside = _beside(source)
    if len(beside["exif"]) > _MAX_JPEG_BLOCK_BYTES:
        beside["exif"] = b""
    return _saved(picture, "JPEG", quality=95, subsampling=0, icc_profile=source.icc, **beside)


def _beside(source: Source) -> dict[str, bytes]:
    """EXIF and XMP as Pillow's writers take them."""
    return {"exif": metadata.EXIF_PREFIX + source.exif if source.exif else b"", "xmp": metadata.XMP}


def _saved_png(picture: Image.Image) -> bytes:
    """A PNG of the pixels alone."""
    return _saved(picture, "PNG", compress_level=png.COMPRESS_LEVEL)


def _saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()
