"""Small pictures, and writers for the kinds of PNG and TIFF that Pillow does not write."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from refacer.types import FaceRecord, Passport, SourceInfo, StageRecord

LIMIT = 10**6


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def picture(rng):
    """A function (channels, dtype) -> a smooth picture with noise, 24 rows by 30 columns."""

    def draw(channels=3, dtype=np.uint8):
        rows, columns = np.mgrid[:24, :30]
        planes = np.stack([columns * 8, rows * 10, columns + rows * 4, 255 - columns * 7], axis=2)[..., :channels]
        if dtype == np.uint8:
            return planes.astype(np.uint8)
        return (planes * 250 + rng.integers(0, 256, planes.shape)).astype(np.uint16)

    return draw


@pytest.fixture
def passport():
    points = tuple((float(i), i / 3) for i in range(68))
    quad = ((10.5, 20.25), (10.5, 40.0), (30.0, 40.0), (30.0, 20.25))
    stages = (StageRecord("align", {"detector": "dlib"}), StageRecord("project", {"steps": 500}, {"vgg": "ab" * 32}, 3))
    return Passport(SourceInfo(640, 480, "0123456789abcdef" * 4), (FaceRecord(0, 1, points, quad, 256, stages),))


@pytest.fixture
def srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def cmyk_profile():
    """A made-up press that prints every ink but black as the same dark red: a `lut8Type` (ICC.1, 10.10)."""
    paper, red, black = bytes([255, 128, 128]), bytes([100, 190, 160]), bytes([0, 128, 128])
    curves = bytes(range(256))
    head = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = head + curves * 4 + paper + black + (red + black) * 7 + curves * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(lut))
    header = struct.pack(">I4xI4s4s4s12x4s", 144 + len(lut), 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    white = struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(68, b"\0") + white.ljust(60, b"\0") + tags + lut


@pytest.fixture
def exif():
    """A block with a maker, a date, a place, a maker's note and an orientation that turns the picture."""
    block = Image.Exif()
    block[274], block[271] = 6, "Maker"
    block.get_ifd(34665).update({36867: "2020:01:01 00:00:00", 37500: b"near the river"})
    block.get_ifd(34853).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return block


def chunk(kind, body=b""):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.fixture
def png_of():
    """A function: raw rows -> a PNG with any header and any chunks before its pixels."""

    def write(rows, width, bits, color_type, *chunks):
        header = struct.pack(">IIBBBBB", width, len(rows), bits, color_type, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
        parts = [("IHDR", header), *chunks, ("IDAT", body), ("IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind.encode(), part) for kind, part in parts)

    return write


@pytest.fixture
def tiff_of():
    """A function: (H, W, C) -> an uncompressed TIFF in either byte order, with any tags.

    start: where the directory lies; beyond 8 the result has no header, for it is a page that goes behind another one.
    """

    def write(pixels, order="<", planar=1, start=8, **tags):
        height, width, channels = pixels.shape
        stored = pixels.astype(pixels.dtype.newbyteorder(order))
        planes = [stored.tobytes()] if planar == 1 else [stored[..., i].tobytes() for i in range(channels)]
        values = {
            256: [width],
            257: [height],
            258: [pixels.itemsize * 8] * channels,
            259: [1],
            262: [2],
            277: [channels],
        }
        values |= {278: [height], 284: [planar]} | {int(tag[1:]): [value] for tag, value in tags.items()}
        values |= {279: [len(plane) for plane in planes], 273: [0] * len(planes)}
        pixels_at = start + len(_directory(values, order))
        values[273] = [pixels_at + sum(map(len, planes[:i])) for i in range(len(planes))]
        signature = b"II*\0" if order == "<" else b"MM\0*"
        header = signature + struct.pack(order + "I", 8) if start == 8 else b""
        return header + _directory(values, order, start) + b"".join(planes)

    return write


def _directory(values, order, start=8):
    """A page's tags as LONGs, in order; no page follows."""
    entries, outside, at = b"", b"", start + 2 + 12 * len(values) + 4
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        place = packed if len(packed) == 4 else struct.pack(order + "I", at + len(outside))
        outside += b"" if len(packed) == 4 else packed
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + place
    return struct.pack(order + "H", len(values)) + entries + bytes(4) + outside


@pytest.fixture
def saved():
    """A function: array or picture -> the bytes Pillow writes."""

    def save(pixels, format, **options):
        buffer = BytesIO()
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return save
