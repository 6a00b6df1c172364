"""Pillow and cv2 without their own limits, warnings and lines on stderr: ours are the limits and the messages."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from PIL import Image

_LOCK = threading.RLock()


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
