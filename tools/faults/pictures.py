"""What a specimen is, and small whole pictures of every format that is read."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from refacer.files import Source, encode_display, encode_png, read_source
from refacer.files.artefacts import Face, own_passport, read_picture
from refacer.files.encoding import encode_labels

Reader = Callable[[Path], object]
MAX_PIXELS = 4_000_000


@dataclass(frozen=True)
class Specimen:
    """A whole file: its kind, suffix and bytes, and what reads it."""

    kind: str
    suffix: str
    data: bytes
    read: Reader


def pictures() -> Iterator[Specimen]:
    """One of each kind."""
    rows, columns = np.mgrid[:40, :48]
    rgba = np.stack([columns * 5, rows * 6, columns + rows * 2, 255 - columns * 4], axis=2).astype(np.uint8)
    rgb, grey = Image.fromarray(rgba[..., :3]), Image.fromarray(rgba[..., 0])
    deep = rgba.astype(np.uint16) * 257
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    srgb = profile[:24] + bytes(12) + profile[36:]  # without the time at which it was made
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    face = Face.of(rgba[:40, :40, :3].copy(), own_passport(Source(rgba[:40, :40, :3]).info))

    def frames() -> dict[str, Any]:
        return {"save_all": True, "append_images": [rgb.rotate(90)]}

    made = {
        "PNG": saved(Image.fromarray(rgba), "PNG", icc_profile=srgb, exif=exif),
        "PNG, palette": saved(rgb.convert("P"), "PNG", transparency=3),
        "PNG, 16 bits": _display(deep, "PNG", icc=srgb),
        "PNG, 16 bits of grey": _display(np.dstack([deep[..., :1]] * 3 + [deep[..., 3:]]), "PNG", grey=True),
        "PNG, linear": _display(deep[..., :3], "PNG", color=((b"gAMA", struct.pack(">I", 100_000)),)),
        "PNG, cICP and cHRM": _display(
            rgba[..., :3], "PNG", color=((b"cICP", b"\x09\x10\0\1"), (b"cHRM", struct.pack(">8I", *[30_000] * 8)))
        ),
        "PNG, animated": saved(rgb, "PNG", **frames()),
        "PNG, a face": encode_png(face.pixels, face.passport, face.pixels),
        "PNG, labels": encode_labels((rgba[..., 0] // 14), face.passport),
        "JPEG": saved(rgb, "JPEG", icc_profile=srgb, exif=exif),
        "JPEG, CMYK": saved(rgb.convert("CMYK"), "JPEG"),
        "JPEG, several": saved(rgb, "MPO", **frames()),
        "JPEG, grey": saved(grey, "JPEG", progressive=True),
        "WebP": saved(rgb, "WEBP", icc_profile=srgb, exif=exif),
        "WebP, lossless": saved(Image.fromarray(rgba), "WEBP", lossless=True),
        "WebP, animated": saved(rgb, "WEBP", **frames()),
        "TIFF": saved(rgb, "TIFF", compression="tiff_lzw", icc_profile=srgb),
        "TIFF, deflate": saved(Image.fromarray(rgba), "TIFF", compression="tiff_adobe_deflate"),
        "TIFF, JPEG": saved(rgb, "TIFF", compression="jpeg"),
        "TIFF, pages": saved(rgb, "TIFF", **frames()),
        "TIFF, 16 bits": _display(deep, "TIFF"),
        "TIFF, grey": saved(grey, "TIFF", compression="packbits"),
        "AVIF": saved(rgb, "AVIF", speed=10),
        "BMP": saved(rgb, "BMP"),
        "TGA": saved(rgb, "TGA", compression="tga_rle"),
    }  # fmt: skip
    suffixes = {"JPEG": ".jpg", "TIFF": ".tif", "WebP": ".webp"}
    for kind, data in made.items():
        name = kind.partition(",")[0]
        yield Specimen(kind, suffixes.get(name, f".{name.lower()}"), data, _read_picture)


def _read_picture(path: Path) -> object:
    source = read_source(path, max_pixels=MAX_PIXELS)
    read_picture(path.read_bytes(), max_pixels=MAX_PIXELS)
    _ = source.rgb, source.info, source.colorless
    return encode_display(source.native, source, "PNG", source.passport)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """A picture's file."""
    buffer = BytesIO()
    image.copy().save(buffer, format, **options)  # a picture that was saved keeps the settings of its format
    return buffer.getvalue()


def _display(native: Any, format: str, **told: Any) -> bytes:
    return encode_display(native, Source(native, **told), format, None)
