"""The finished picture of `composite` and `run`: faces pasted, passport of all of them, the format asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refacer import console
from refacer.files import (
    Source,
    carries_passport,
    encode_display,
    encode_passport,
    format_of,
    keeps_pixels,
    sidecar_of,
)
from refacer.images.pixels import paste_blend
from refacer.stages.composite import Blend
from refacer.types import FaceRecord, Passport


def encode_finished(
    source: Source, blends: Sequence[Blend], faces: Sequence[FaceRecord], output: Path | None
) -> tuple[bytes, dict[Path, bytes]]:
    """The finished picture's bytes, and its sidecar where the format asked for carries no passport."""
    format = (format_of(output) if output else None) or "PNG"
    native: Any = source.native
    for blend in blends:
        native = paste_blend(native, blend.top, blend.left, blend.pixels, blend.alpha)
    if not keeps_pixels(format, source.depth):
        console.warn(f"{output}: {format} does not keep the pixels around the face as they were; PNG does")
    passport = Passport(source.info, tuple(faces))
    sidecar = {} if output is None or carries_passport(format) else {sidecar_of(output): encode_passport(passport)}
    return encode_display(native, source, format, passport), sidecar
