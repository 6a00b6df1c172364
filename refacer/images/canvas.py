"""A picture of which only the windows that are looked at become tensors: floats take four times a picture's bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refacer.images.pixels import tensor_from_rgb

BAND_PIXELS = 2**22
"""Pixels that are tensors at once while a picture is shrunk."""

Stored = NDArray[np.uint8] | NDArray[np.uint16]
Index = tuple[slice, slice, slice, slice]


@dataclass(eq=False)
class Canvas:
    """Stored pixels, (H, W, 3) uint8 or uint16, that read like a tensor (1, 3, H, W) in [-1, 1] by slices.

    What is written into it stays a tensor beside the pixels, which are not changed: nothing is rounded.
    """

    stored: Stored
    device: torch.device | str = "cpu"
    pasted: list[tuple[int, int, Tensor]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As a tensor has it."""
        return 1, 3, *self.stored.shape[:2]

    def clone(self) -> Canvas:
        """One that can be written into without changing this one."""
        return Canvas(self.stored, self.device, [*self.pasted])

    def __getitem__(self, index: Index) -> Tensor:
        """A window, `canvas[:, :, top:bottom, left:right]`, as a tensor of its own."""
        top, left, bottom, right = self._window(index)
        window = tensor_from_rgb(self.stored[top:bottom, left:right], self.device)
        for row, column, pixels in self.pasted:
            height, width = pixels.shape[2:]
            rows = max(top, row), min(bottom, row + height)
            columns = max(left, column), min(right, column + width)
            if rows[0] < rows[1] and columns[0] < columns[1]:
                ours = pixels[:, :, rows[0] - row : rows[1] - row, columns[0] - column : columns[1] - column]
                window[:, :, rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left] = ours
        return window

    def __setitem__(self, index: Index, pixels: Tensor) -> None:
        """Write a window."""
        top, left, _, _ = self._window(index)
        self.pasted.append((top, left, pixels))

    def _window(self, index: Index) -> tuple[int, int, int, int]:
        """Top, left, bottom and right, within the picture."""
        rows, columns = index[2:]
        (top, bottom, _), (left, right, _) = rows.indices(self.shape[2]), columns.indices(self.shape[3])
        return top, left, bottom, right


Picture = Tensor | Canvas
"""(1, 3, H, W) in [-1, 1], read by slices of rows and columns."""


def shrunk(image: Picture, longer_px: int) -> tuple[Tensor, float]:
    """The image with its longer side at most `longer_px`, and by which factor it was shrunk (1 or less).

    In bands of rows: the bits are those of one call, which shrinks the rows first as well.
    """
    height, width = image.shape[2:]
    scale = longer_px / max(height, width)
    if scale >= 1:
        return image[:, :, :, :], 1.0
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    rows = max(1, BAND_PIXELS // width)
    bands = (image[:, :, top : top + rows, :] for top in range(0, height, rows))
    narrow = torch.cat([_averaged(band, (band.shape[2], size[1])) for band in bands], dim=2)
    return _averaged(narrow, size), scale


def _averaged(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", antialias=True)
