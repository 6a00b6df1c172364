"""Opening a picture: which format, how large, what travels beside its pixels.

Pillow's and cv2's own limits, warnings and lines on stderr are put aside: ours are the limits and the messages.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from refacer.errors import InputRefused
from refacer.files import metadata, png, tiff

_LOCK = threading.RLock()
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
READABLE = (".png", *_JPEG, ".webp", ".tif", ".tiff", ".avif", ".bmp", ".tga")
"""Suffixes of the pictures that are read, in lower case; what a file is, its first bytes tell."""

_WEBP_BYTES = 12  # a pixel: the canvas, the picture before it, and the one that is decoded
_AVIF_BRANDS = (b"avif", b"avis")
_AV1_FLAGS = 6  # from the box's name to `high_bitdepth` and `twelve_bit` (AV1-ISOBMFF 1.2, 2.3.3)
_BITS_A_SAMPLE = 258
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Decoded:
    """An opened and loaded picture. raw_mode: how Pillow calls the file's samples; orientation: of the file's rows."""

    image: Image.Image
    data: bytes
    format: str
    raw_mode: str
    orientation: int
    exif: bytes | None
    png: png.Png | None
    tiff: tiff.Tiff | None = None

    @property
    def icc(self) -> object:
        """The profile in the file, whatever colours it is for."""
        return self.png.icc if self.png else self.image.info.get("icc_profile")

    @property
    def key(self) -> object:
        """The sample value or colour that is declared transparent, if there is one."""
        return self.image.info.get("transparency")

    @property
    def color(self) -> tuple[png.Chunk, ...]:
        """What tells the space of colours besides a profile, as a PNG's chunks: of a PNG, and of an AVIF its `nclx`."""
        if self.png:
            return self.png.color
        at = self.data.find(b"colrnclx") if self.format == "AVIF" and self.icc is None else -1
        numbers = self.data[at + 9 : at + 12 : 2]  # the low bytes of primaries and transfer; H.273 has no high ones
        return ((b"cICP", bytes([*numbers, 0, 1])),) if at > 0 and len(numbers) == 2 else ()

    @property
    def further(self) -> int:
        """How many pictures the file holds besides this one: pages, or frames of an animation."""
        if self.png or self.tiff:
            return max(0, self.png.frames - 1) if self.png else self.tiff.further if self.tiff else 0
        return max(0, getattr(self.image, "n_frames", 1) - 1)

    @property
    def bits(self) -> int:
        """How many bits a sample of the file has, where it may be more than are read: of a TIFF and an AVIF; else 0."""
        if self.tiff:
            return max(self.tag(_BITS_A_SAMPLE, (0,)))
        at = self.data.find(b"av1C") + _AV1_FLAGS if self.format == "AVIF" else 0
        deep, twelve = (self.data[at] >> 6 & 1, self.data[at] >> 5 & 1) if 8 <= at < len(self.data) else (0, 0)
        return 8 + 2 * (deep + twelve) if at else 0

    def tag(self, number: int, default: Any = None) -> Any:
        """A tag of a TIFF's page; the default for any other format."""
        return getattr(self.image, "tag_v2", {}).get(number, default)


def open_picture(data: bytes, max_pixels: int) -> Decoded:
    """Open and load a picture; its claimed size is checked before it is decoded. Raises InputRefused."""
    kind = _sniff(data)
    parts = png.read_png(data) if kind == "PNG" else None
    pages = tiff.read_tiff(data) if kind == "TIFF" else None
    data = pages.data if pages else data
    needs = 0
    if kind == "WEBP":
        width, height = _webp_size(data)
        check_size(width, height, max_pixels)  # Pillow allocates a WebP's canvas when it opens it
        needs = width * height * _WEBP_BYTES
    with decoding(kind, needs):
        with undisturbed(), silent() if kind == "TIFF" else nullcontext():
            image = Image.open(BytesIO(parts.pixels if parts else data), formats=(kind,))
            check_size(*image.size, max_pixels)
            raw_mode = _raw_mode(image)
            orientation, exif = _exif(image, kind, parts)
            if kind == "TIFF":  # here, for Pillow's own limit holds when it loads
                image.load()
        image.load()
    return Decoded(image, data, kind, raw_mode, orientation, exif, parts, pages)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise InputRefused for more pixels than allowed, or for none."""
    if min(width, height) < 1:
        raise InputRefused("the picture has no pixels")
    if width * height > max_pixels:
        raise InputRefused(f"{width}x{height} is more than {max_pixels} pixels; raise --max-pixels or shrink it")


@contextmanager
def decoding(kind: str, needs: int = 0) -> Iterator[None]:
    """Decoders answer damage with errors of every kind: all of them mean that the picture is refused.

    Raises MemoryError where memory did not suffice, also where the decoder calls that damage: where `needs` bytes are
    not to be had afterwards.
    """
    try:
        yield
    except (InputRefused, MemoryError):
        raise
    except Exception as error:
        require_memory(needs)
        raise InputRefused(f"cannot be decoded as {kind}: damaged, cut off or of a rare kind; save it again") from error


def require_memory(needs: int) -> None:
    """Raise MemoryError where so many bytes are not to be had."""
    bytearray(needs)


@contextmanager
def undisturbed() -> Iterator[None]:
    """One thread at a time without Pillow's pixel limit and warnings; both belong to the whole process."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def silent() -> Iterator[None]:
    """Without stderr: libtiff and cv2 print what our error says anyway. One thread at a time."""
    with _LOCK, ExitStack() as restored:
        try:
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        except OSError:  # there is no stderr
            yield
            return
        restored.callback(os.close, kept)
        restored.callback(os.close, nowhere)
        restored.callback(os.dup2, kept, 2)
        os.dup2(nowhere, 2)
        yield


def _sniff(data: bytes) -> str:
    """The format by the first bytes, whatever the name says."""
    if png.is_png(data):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(_TIFF_SIGNATURES):
        return "TIFF"
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in _AVIF_BRANDS):
        return "AVIF"
    if data.startswith(b"BM"):
        return "BMP"
    if _is_tga(data):
        return "TGA"
    raise InputRefused("not a PNG, JPEG, WebP, TIFF, AVIF, BMP or TGA picture" if data else "the file is empty")


def _is_tga(data: bytes) -> bool:
    """Whether a header is one of Truevision's, which has no signature: palette, kind and depth must go together."""
    if len(data) < 18:
        return False
    palette, kind, depth = data[1], data[2], data[16]
    depths = {1: (8,), 2: (16, 24, 32), 3: (8, 16)}.get(kind & ~8, ())  # 8: with run lengths
    return palette == (kind & ~8 == 1) and depth in depths and data[17] & 0xC0 == 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """The canvas a WebP claims (RFC 9649, 2.5 to 2.7); raises InputRefused where it claims none."""
    kind, head = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    raise InputRefused("the WebP is damaged")


def _raw_mode(image: Image.Image) -> str:
    """How the file's samples are packed, in Pillow's words; empty where the format has only one way."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _exif(image: Image.Image, kind: str, parts: png.Png | None) -> tuple[int, bytes | None]:
    """The orientation and the EXIF block that is kept. A TIFF is its own EXIF, read as Pillow will when it loads."""
    exif = image.getexif() if kind == "TIFF" else metadata.exif_of(parts.exif if parts else image.info.get("exif"))
    return metadata.orientation_of(exif), metadata.clean_exif(exif)
