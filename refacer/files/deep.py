"""Colour with 16 bits through cv2, which Pillow reads as 8; the only place where BGR appears."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refacer.errors import InputRefused
from refacer.files import png
from refacer.files.undisturbed import silent


def decode_deep(data: bytes) -> NDArray[np.uint16]:
    """A PNG or TIFF with 16 bits -> (H, W, 3 or 4) uint16 RGB(A); InputRefused where cv2 cannot.

    cv2 turns a TIFF as its orientation asks, and leaves a PNG as it is.
    """
    import cv2  # only here: a machine that decodes no 16-bit colour needs no cv2

    with silent():
        try:
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            stored = None
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 3 or stored.shape[2] not in (3, 4):
        raise InputRefused("this kind of 16-bit picture cannot be read; save it as a plain RGB PNG")
    return _swapped(stored)


def encode_deep_png(native: NDArray[np.uint16]) -> bytes:
    """(H, W, 3 or 4) uint16 RGB(A) -> a PNG with 16 bits."""
    import cv2

    done, data = cv2.imencode(".png", _swapped(native), [cv2.IMWRITE_PNG_COMPRESSION, png.COMPRESS_LEVEL])
    if not done:
        raise MemoryError("the PNG could not be encoded")
    return data.tobytes()


def _swapped(picture: NDArray[Any]) -> NDArray[Any]:
    """RGB(A) to BGR(A) and back."""
    return np.ascontiguousarray(picture[..., [2, 1, 0, 3][: picture.shape[2]]])
