"""Sets of pictures that are measured: a folder or a zip, by name."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from refacer.errors import InputRefused, UsageError
from refacer.files import SUFFIXES, read_source
from refacer.files.archives import Archives
from refacer.files.sources import Entry, is_zip, list_pictures


class PictureSet:
    """The pictures below a folder or in a zip; keys: their paths in it without suffix, sorted.

    Raises UsageError where there is none, or where two have one key; InputRefused where a part cannot be looked into.
    """

    def __init__(self, source: Path, max_pixels: int) -> None:
        self.source, self.max_pixels = source, max_pixels
        if not (source.is_dir() or is_zip(source)):
            raise InputRefused(f"{source}: neither a folder nor a zip of pictures")
        listing = list_pictures(source)
        for _, error in listing.refused:
            raise error
        self._archives, self._entries = Archives(), dict[str, Entry]()
        for entry in listing.entries:
            key = str(entry.below.with_suffix(""))
            if key in self._entries:
                raise UsageError(f"{source}: two pictures are called {key}; keep one of them")
            self._entries[key] = entry
        if not self._entries:
            raise UsageError(f"{source}: holds no picture ({' '.join(SUFFIXES)})")
        self.keys = sorted(self._entries)

    def __len__(self) -> int:
        return len(self.keys)

    def picture(self, key: str) -> Tensor:
        """(3, H, W) uint8 of one picture; raises InputRefused."""
        data = self._entries[key].read(self._archives)
        source = read_source(data, max_pixels=self.max_pixels, name=f"{self.source}: {key}")
        return torch.from_numpy(source.rgb.copy()).permute(2, 0, 1)
