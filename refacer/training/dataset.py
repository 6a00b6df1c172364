"""Aligned faces from folders and zips, in an order that depends on the seed and the position alone.

Because the batch at a position is a function of (seed, position), resuming needs no more state than a number.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.errors import InputRefused, UsageError
from refacer.files import SUFFIXES, read_source
from refacer.options import MAX_PIXELS
from refacer.pixels import rgb_from_tensor, tensor_from_rgb

CACHE_BYTES = 4 * 2**30
"""A set that fits in this much memory is decoded once."""


class FaceDataset:
    """Pictures of aligned faces at one resolution; with `mirror` the list holds each one flipped, too.

    sources: folders (recursive) or zips; every picture must be square and is resized to `resolution` by area.
    Raises UsageError where nothing is found; unreadable pictures are listed in `refused` and left out.
    """

    def __init__(self, sources: Sequence[Path], resolution: int, *, mirror: bool = True, seed: int = 0) -> None:
        self.resolution, self.mirror, self.seed = resolution, mirror, seed
        self.refused: list[tuple[str, str]] = []
        self._names = [name for source in sources for name in _list_pictures(source)]
        if not self._names:
            raise UsageError(f"no pictures in {', '.join(map(str, sources))}; give a folder or zip of aligned faces")
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._cache: Tensor | None = None
        self._usable = self._check()
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self._usable) * (2 if self.mirror else 1)

    def batch(self, position: int, count: int) -> Tensor:
        """The `count` pictures after `position` were seen: (count, 3, R, R) uint8, where `keep_on` put them."""
        indices = [self._index(position + i) for i in range(count)]
        numbers, flipped = zip(*(divmod(i, len(self._usable))[::-1] for i in indices), strict=True)
        if self._cache is None:
            pictures = torch.stack([self._read(self._usable[n]) for n in numbers])
        else:
            pictures = self._cache[torch.tensor(numbers, device=self._cache.device)]
        mask = torch.tensor(flipped, device=pictures.device, dtype=torch.bool)
        return torch.where(mask[:, None, None, None], pictures.flip(3), pictures)

    def keep_on(self, device: torch.device) -> None:
        """Move a cached set to the device, so that no batch crosses the bus."""
        if self._cache is not None:
            self._cache = self._cache.to(device)

    def _index(self, position: int) -> int:
        """Which picture stands at a position: every epoch has its own permutation."""
        epoch, offset = divmod(position, len(self))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self)))
        return int(self._order[1][offset])

    def _check(self) -> list[str]:
        """Read every picture once; keep them where the set is small enough."""
        keep = len(self._names) * 3 * self.resolution**2 <= CACHE_BYTES
        usable, pictures = [], []
        for name in self._names:
            try:
                picture = self._read(name)
            except InputRefused as error:
                self.refused.append((name, str(error)))
                continue
            usable.append(name)
            pictures.extend([picture] if keep else [])
        if not usable:
            raise UsageError(f"none of {len(self._names)} pictures can be used; the first: {self.refused[0][1]}")
        self._cache = torch.stack(pictures) if keep else None
        return usable

    def _archive(self, path: str) -> zipfile.ZipFile:
        """An archive, whose directory is read once and not for every picture."""
        if path not in self._archives:
            self._archives[path] = zipfile.ZipFile(path)
        return self._archives[path]

    def _read(self, name: str) -> Tensor:
        """Decode one picture to (3, R, R) uint8."""
        archive, _, member = name.partition("::")
        data = self._archive(archive).read(member) if member else Path(archive)
        rgb = read_source(data, max_pixels=MAX_PIXELS).rgb
        if rgb.shape[0] != rgb.shape[1]:
            raise InputRefused(f"{name}: {rgb.shape[1]}x{rgb.shape[0]} is not square; run `refacer align` first")
        if rgb.shape[0] != self.resolution:
            rgb = _resize(rgb, self.resolution)
        return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))


def _resize(rgb: np.ndarray, size: int) -> np.ndarray:
    """Area-average down, bilinear up."""
    image = tensor_from_rgb(rgb)
    mode = "area" if rgb.shape[0] > size else "bilinear"
    resized = F.interpolate(image, size=(size, size), mode=mode)
    return rgb_from_tensor(resized)


def _list_pictures(source: Path) -> list[str]:
    """Sorted names: a path, or ARCHIVE::MEMBER."""
    if source.is_dir():
        return sorted(str(p) for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
    if zipfile.is_zipfile(source):
        members = zipfile.ZipFile(source).namelist()
        return sorted(f"{source}::{m}" for m in members if Path(m).suffix.lower() in SUFFIXES)
    raise UsageError(f"{source}: neither a folder nor a zip of pictures")
