"""Colour with 16 bits, which Pillow reads as 8 bits and cannot write.

Read through cv2: the only place where BGR appears. Written by hand: PNG with every row as its difference from the one
above, and TIFF with profile, EXIF and XMP in one file: TIFF 6.0 with Adobe's deflate and horizontal differencing
(technical note 3, 2002).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from refacer.errors import InputRefused
from refacer.files import png
from refacer.files.decoding import require_memory, silent

_HEADER = b"II*\0" + struct.pack("<I", 8)
_BYTES_A_PIXEL = 16  # that cv2 takes: twice four samples of 16 bits
_STRIP_BYTES = 1024 * 1024
_BYTE, _LONG, _UNDEFINED = 1, 4, 7
_STRIP_OFFSETS, _XMP, _ICC = 273, 700, 34675
_UP = 2  # PNG's filter of that name


def decode_deep(data: bytes, pixels: int) -> NDArray[np.uint16]:
    """A PNG or TIFF with 16 bits -> (H, W, 3 or 4) uint16 RGB(A); pixels: how many it has.

    Raises InputRefused where cv2 cannot, MemoryError where it cannot for want of memory.

    cv2 turns a TIFF as its orientation asks, and leaves a PNG as it is.
    """
    try:
        import cv2  # only here: a machine that decodes no 16-bit colour needs no cv2
    except ModuleNotFoundError:
        raise
    except ImportError as error:  # its libraries found no room
        raise MemoryError("OpenCV cannot be loaded") from error

    with silent():
        try:
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            stored = None
    if stored is None:
        require_memory(pixels * _BYTES_A_PIXEL)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 3 or stored.shape[2] not in (3, 4):
        raise InputRefused("this kind of 16-bit picture cannot be read; save it as a plain RGB PNG")
    for row in stored:
        row[:, :3] = row[:, 2::-1].copy()
    return np.ascontiguousarray(stored, np.uint16)


def encode_deep_png(native: NDArray[np.uint16]) -> bytes:
    """(H, W, 1 to 4) uint16, grey or RGB, with alpha or without -> a PNG with 16 bits."""
    height, width, channels = native.shape
    return png.assemble(width, height, 16, channels, _filtered(native))


def _filtered(native: NDArray[np.uint16]) -> Iterator[memoryview]:
    """Rows as PNG's filter has them, some at a time."""
    height = len(native)
    size = max(1, _STRIP_BYTES // native[0].nbytes)
    above = np.zeros((1, native[0].nbytes), np.uint8)
    for top in range(0, height, size):
        rows = native[top : top + size].astype(">u2").view(np.uint8).reshape(-1, above.shape[1])
        filtered = np.full((len(rows), rows.shape[1] + 1), _UP, np.uint8)
        filtered[:, 1:] = rows - np.concatenate([above, rows[:-1]])  # wraps, as the format wants
        above = rows[-1:]
        yield filtered.data


def encode_tiff(native: NDArray[Any], icc: bytes | None, tags: dict[int, Any], xmp: bytes) -> bytes:
    """(H, W, 1 to 4), grey or RGB, -> a TIFF of the same depth; `tags` are the EXIF tags to keep."""
    rows = max(1, _STRIP_BYTES // native[0].nbytes)
    strips = [_strip(native[top : top + rows]) for top in range(0, len(native), rows)]
    directory = ImageFileDirectory_v2(_HEADER)
    for tag, value in tags.items():
        directory[tag] = value
    _describe(directory, native, rows)
    _locate(directory, [len(strip) for strip in strips])
    _attach(directory, _XMP, _BYTE, xmp)
    if icc:
        _attach(directory, _ICC, _UNDEFINED, icc)
    return b"".join((_HEADER, directory.tobytes(len(_HEADER)), *strips))


def _strip(rows: NDArray[Any]) -> bytes:
    """Differences between neighbours in a row, little-endian, deflated."""
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]  # wraps, as the format wants
    return zlib.compress(differences.astype(rows.dtype.newbyteorder("<")).tobytes())


def _describe(directory: ImageFileDirectory_v2, native: NDArray[Any], rows: int) -> None:
    """Size, samples, compression 8 (deflate), grey (1) or RGB (2), predictor 2, alpha 2 (colours not multiplied)."""
    height, width, channels = native.shape
    directory[256], directory[257], directory[258] = width, height, (native.itemsize * 8,) * channels
    directory[259], directory[262], directory[277], directory[278] = 8, 1 if channels < 3 else 2, channels, rows
    directory[284], directory[317], directory[339] = 1, 2, (1,) * channels
    if channels in (2, 4):
        directory[338] = 2


def _locate(directory: ImageFileDirectory_v2, sizes: list[int]) -> None:
    """Where the strips lie; Pillow's directory counts their offsets from its own end."""
    directory.tagtype[_STRIP_OFFSETS] = directory.tagtype[279] = _LONG
    directory[_STRIP_OFFSETS] = tuple(int(n) for n in np.cumsum([0, *sizes[:-1]]))
    directory[279] = tuple(sizes)


def _attach(directory: ImageFileDirectory_v2, tag: int, kind: int, value: bytes) -> None:
    """Add a tag whose value is bytes; kind: BYTE or UNDEFINED of TIFF 6.0."""
    directory.tagtype[tag] = kind
    directory[tag] = value
