"""A finished picture of `composite` and `run` as a command's outcome: the format asked for, a word on what it loses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from refacer.files import converts, format_of, keeps_pixels
from refacer.files.artefacts import Display
from refacer.jobs.turns import Outcome
from refacer.jobs.views import Sizes, View, views_of

LOSSY = "{output}: {format} does not keep the pixels around the face as they were; PNG does"
CONVERTED = "{output}: {format} cannot tell this space of colours; all is converted to sRGB; PNG can"


def outcome_of(
    display: Display, output: Path | None, *, extras: Mapping[Path, bytes] | None = None, facts: Mapping[str, Any]
) -> Outcome:
    """The picture's bytes, its sidecar where the format carries no passport, and further files."""
    format = (format_of(output) if output else None) or "PNG"
    warnings = []
    if not keeps_pixels(format, display.source.depth):
        warnings.append(LOSSY.format(output=output, format=format))
    elif converts(display.source, format):
        warnings.append(CONVERTED.format(output=output, format=format))
    data, beside = display.files(output)
    return Outcome({None: data}, {**beside, **(extras or {})}, facts, warnings, partial(_views, display))


def _views(display: Display, sizes: Sizes) -> list[View]:
    return views_of(display.source, display.native, display.passport, sizes)
