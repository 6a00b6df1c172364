"""PNG as chunks: what the pixels need, what travels beside them, and both put together again.

Pillow and cv2 see only the chunks that make the pixels; text, profile and EXIF are read here, bounded.
PNG, third edition: https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from refacer.errors import InputRefused

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 4 * 1024 * 1024
MAX_ICC_BYTES = 16 * 1024 * 1024
COMPRESS_LEVEL = 4
"""A third of level 6's time, within a tenth of its size, on smooth and on noisy pictures."""

PASSPORT_KEYWORD = b"refacer"
RENDERING_KIND = b"rfRN"
"""A private ancillary chunk: the rendering generator's picture of the same code, as a PNG. Its last letter says that
it belongs to these very pixels: a program that changes them must not copy it."""
MAX_RENDERING_BYTES = 64 * 1024 * 1024
XMP_KEYWORD = b"XML:com.adobe.xmp"

_PIXEL_KINDS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COLOR_KINDS = (b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"pHYs")
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")

Chunk = tuple[bytes, bytes]
"""A chunk's four-letter type and its body."""


@dataclass(frozen=True)
class Png:
    """A PNG taken apart: `pixels` is a file of the pixel chunks alone; `texts` holds only our own keywords.

    color: chunks that say how the values are to be seen (gamma, primaries, pixel size), kept as they are. rendering:
    the body of a RENDERING_KIND chunk, not looked into. frames: of an animation, which begins with these pixels.
    """

    pixels: bytes
    transparent_key: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    color: tuple[Chunk, ...] = ()
    texts: Mapping[bytes, bytes] = field(default_factory=dict)
    rendering: bytes | None = None
    frames: int = 1


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG does."""
    return data.startswith(SIGNATURE)


def read_png(data: bytes, *, key: bool = True) -> Png:
    """Take a PNG apart; key=False leaves tRNS out of `pixels`. Raises InputRefused where a chunk is damaged."""
    pixels, bodies, color, texts = [SIGNATURE], {}, [], {}
    for kind, start, end in _chunks(data):
        if kind in _PIXEL_KINDS and (key or kind != b"tRNS"):
            pixels.append(data[start - 8 : end + 4])
        if kind == RENDERING_KIND and end - start > MAX_RENDERING_BYTES:
            raise InputRefused("the rendering inside the PNG is too large")
        if kind in (b"tRNS", b"iCCP", b"eXIf", b"acTL", RENDERING_KIND):
            bodies.setdefault(kind, data[start:end])
        elif kind in _COLOR_KINDS:
            color.append((kind, data[start:end]))
        elif kind in _TEXT_KINDS and data.startswith(PASSPORT_KEYWORD + b"\0", start):
            texts.setdefault(PASSPORT_KEYWORD, _text(kind, data[start:end]))
    icc = _profile(bodies.get(b"iCCP", b""))
    exif, rendering = bodies.get(b"eXIf"), bodies.get(RENDERING_KIND)
    frames = int.from_bytes(bodies.get(b"acTL", b"\0\0\0\1")[:4])
    return Png(b"".join(pixels), bodies.get(b"tRNS"), icc, exif, tuple(color), texts, rendering, frames)


def assemble(width: int, height: int, bits: int, channels: int, rows: Iterable[bytes | memoryview]) -> bytes:
    """A PNG of filtered rows, some at a time: grey or RGB, with alpha or without, by the channels, 1 to 4."""
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOR_TYPES[channels], 0, 0, 0)
    packer = zlib.compressobj(COMPRESS_LEVEL)
    body = b"".join([*map(packer.compress, rows), packer.flush()])
    return SIGNATURE + b"".join(_packed(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")))


def splice(png: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Insert chunks right after IHDR, where every kind of ancillary chunk may stand."""
    after_header = len(SIGNATURE) + 12 + 13
    return b"".join((png[:after_header], *(_packed(*chunk) for chunk in chunks), png[after_header:]))


def text_chunk(keyword: bytes, text: bytes) -> Chunk:
    """An uncompressed iTXt chunk of UTF-8 text."""
    return b"iTXt", keyword + b"\0\0\0\0\0" + text


def icc_chunk(icc: bytes) -> Chunk:
    """The iCCP chunk of an ICC profile, compressed."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)


def _packed(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's type and where its body starts and ends, up to IEND."""
    view, at, kind = memoryview(data), len(SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise InputRefused("the PNG is cut off")
        length, kind = struct.unpack_from(">I4s", data, at)
        start, end = at + 8, at + 8 + length
        if end + 4 > len(data):
            raise InputRefused("the PNG is cut off")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise InputRefused("the PNG is damaged")
        if kind[0:1].isupper() and kind not in _PIXEL_KINDS:
            raise InputRefused("the PNG needs an extension that is not supported; save it as a plain PNG")
        yield kind, start, end
        at = end + 4


def _text(kind: bytes, body: bytes) -> bytes:
    """The text of a tEXt, zTXt or iTXt chunk."""
    rest = body.partition(b"\0")[2]
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:], MAX_TEXT_BYTES)
    packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    text = parts[2] if len(parts) == 3 else b""
    return _inflated(text, MAX_TEXT_BYTES) if packed else text


def _profile(body: bytes) -> bytes | None:
    """The profile of an iCCP chunk; a broken one is as good as none."""
    try:
        return _inflated(body.partition(b"\0")[2][1:], MAX_ICC_BYTES) or None
    except InputRefused:
        return None


def _inflated(packed: bytes, limit: int) -> bytes:
    """Decompress at most `limit` bytes; raises InputRefused for more, or for what is no zlib stream."""
    try:
        plain = zlib.decompressobj().decompress(packed, limit + 1)
    except zlib.error as error:
        raise InputRefused("a compressed text of the PNG is damaged") from error
    if len(plain) > limit:
        raise InputRefused("a compressed text of the PNG is too large")
    return plain
