"""A sheet of strips: rows of small pictures, each under its name, as the paper's comparing figures have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from refacer.images.pixels import rgb_from_tensor
from refacer.images.sheet_layout import captioned, fitted, row_of, stacked
from refacer.types import Rgb

CELL_PX = 160


def sheet_of(rows: Iterable[tuple[str, Sequence[Tensor] | Tensor]]) -> Rgb:
    """Names and pictures, (3, H, W) or (1, 3, H, W) in [-1, 1] each, to one picture."""
    return stacked([captioned(row_of([_small(one) for one in pictures]), name, ()) for name, pictures in rows])


def _small(picture: Tensor) -> Rgb:
    return fitted(rgb_from_tensor(picture.cpu()), CELL_PX, CELL_PX)
