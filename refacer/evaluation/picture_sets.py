"""Sets of pictures that are measured: a folder or a zip, by name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from refacer.errors import InputRefused, UsageError
from refacer.files import SUFFIXES, read_source
from refacer.files.archives import Archives, read_member, zip_pictures


class PictureSet:
    """The pictures below a folder or in a zip; keys: their paths in it without suffix, sorted.

    Raises UsageError where there is none, or where two have one key.
    """

    def __init__(self, source: Path, max_pixels: int) -> None:
        self.source, self.max_pixels = source, max_pixels
        self._read: dict[str, Callable[[], Path | bytes]] = {}
        for name, read in _pictures(source):
            key = str(Path(name).with_suffix(""))
            if key in self._read:
                raise UsageError(f"{source}: two pictures are called {key}; keep one of them")
            self._read[key] = read
        if not self._read:
            raise UsageError(f"{source}: holds no picture ({' '.join(SUFFIXES)})")
        self.keys = sorted(self._read)

    def __len__(self) -> int:
        return len(self.keys)

    def picture(self, key: str) -> Tensor:
        """(3, H, W) uint8 of one picture; raises InputRefused."""
        source = read_source(self._read[key](), max_pixels=self.max_pixels, name=f"{self.source}: {key}")
        return torch.from_numpy(source.rgb.copy()).permute(2, 0, 1)


def _pictures(source: Path) -> list[tuple[str, Callable[[], Path | bytes]]]:
    """Every picture's name and how it is read."""
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
        return [(str(path.relative_to(source)), partial(Path, path)) for path in paths]
    if not zipfile.is_zipfile(source):
        raise InputRefused(f"{source}: neither a folder nor a zip of pictures")
    archives = Archives()
    return [(member, partial(read_member, source, member, archives)) for member in zip_pictures(source)]
