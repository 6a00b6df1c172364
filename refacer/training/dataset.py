"""Aligned faces from folders and zips, in an order that depends on the seed and the position alone.

Because the batch at a position is a function of (seed, position), resuming needs no more state than a number.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refacer.errors import InputRefused, RefacerError, UsageError
from refacer.files.archives import Archives
from refacer.files.decoding import Decoded, open_picture
from refacer.files.pictures import MID_GREY
from refacer.files.samples import Native, flattened, native_of
from refacer.files.sources import list_pictures
from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.images.resampling import resized
from refacer.options import MAX_PIXELS

CACHE_BYTES = 4 * 2**30
"""A set that fits in this much memory is decoded once."""

THREADS = min(8, os.cpu_count() or 1)
"""That decode pictures; the decoders let go of Python's lock."""

GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Picture:
    """One decoded picture: pixels (3, R, R) uint8, what was done to it to be that, sha256 of its file."""

    pixels: Tensor
    changes: tuple[str, ...]
    digest: bytes


class FaceDataset:
    """Pictures of aligned faces at one resolution; with `mirror` the list holds each one flipped, too.

    sources: folders or zips (refacer/files/sources.py tells what counts in them); every picture must be square and is
    resized to `resolution` by area. Raises UsageError where nothing is found. Pictures that cannot be used are left out
    and listed in `refused` by name and reason, those that were changed in `converted` by name and what was done;
    `sha256` is of the files in use. expected_px: the side of pictures that are resized without a word; None for
    `resolution`.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        resolution: int,
        *,
        mirror: bool = True,
        seed: int = 0,
        expected_px: int | None = None,
    ) -> None:
        self.sources, self.resolution, self.mirror, self.seed = tuple(sources), resolution, mirror, seed
        self.expected_px = expected_px or resolution
        found = [list_pictures(source) for source in sources]
        self.refused: list[tuple[str, str]] = [(name, str(error)) for one in found for name, error in one.refused]
        self.converted: list[tuple[str, str]] = []
        self._entries = {entry.name: entry for one in found for entry in one.entries}
        self._names = [entry.name for one in found for entry in one.entries]
        if not self._names:
            raise UsageError(f"no pictures in {', '.join(map(str, sources))}; give a folder or zip of aligned faces")
        self._archives = Archives()
        self._cache: Tensor | None = None
        self._pool = ThreadPoolExecutor(THREADS)
        self._ahead: dict[int, Future[Picture]] = {}
        self._usable, self.sha256 = self._check()
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @property
    def pictures(self) -> int:
        """How many pictures are used, mirrored ones not counted."""
        return len(self._usable)

    def __len__(self) -> int:
        return len(self._usable) * (2 if self.mirror else 1)

    def batch(self, position: int, count: int) -> Tensor:
        """The `count` pictures after `position` were seen: (count, 3, R, R) uint8, where `keep_on` put them."""
        indices = [self._index(position + i) for i in range(count)]
        numbers = [index % len(self._usable) for index in indices]
        flipped = [index >= len(self._usable) for index in indices]  # the second half of the list is mirrored
        if self._cache is None:
            pictures = torch.stack([self._picture(n) for n in numbers])
        else:
            pictures = self._cache[torch.tensor(numbers).to(self._cache.device, non_blocking=True)]
        mask = torch.tensor(flipped, dtype=torch.bool).to(pictures.device, non_blocking=True)
        return torch.where(mask[:, None, None, None], pictures.flip(3), pictures)

    def prepare(self, positions: Iterable[int]) -> None:
        """Start to decode the pictures at these positions, and forget all others; a cached set needs none of it."""
        if self._cache is None:
            numbers = dict.fromkeys(self._index(position) % len(self._usable) for position in positions)
            old = self._ahead
            self._ahead = {n: old.get(n) or self._pool.submit(self._read, self._usable[n]) for n in numbers}

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

    def _check(self) -> tuple[list[str], str]:
        """Read every picture once; keep them where the set is small enough. Returns the usable names and their hash."""
        keep = len(self._names) * 3 * self.resolution**2 <= CACHE_BYTES
        usable, pictures, whole = [], [], hashlib.sha256()
        read = self._pool.map(lambda name: self._tried(name, keep), self._names)
        for name, found in zip(self._names, read, strict=True):
            if isinstance(found, RefacerError):
                self.refused.append((name, str(found)))
                continue
            usable.append(name)
            whole.update(found.digest)
            self.converted.extend((name, change) for change in found.changes)
            if keep:
                pictures.append(found.pixels)
        if not usable:
            raise UsageError(f"none of {len(self._names)} pictures can be used; the first: {self.refused[0][1]}")
        self._cache = torch.stack(pictures) if keep else None
        return usable, whole.hexdigest()

    def _tried(self, name: str, keep: bool) -> Picture | RefacerError:
        """A picture, without its pixels unless they are to be kept, or why it cannot be used."""
        try:
            found = self._read(name)
        except RefacerError as error:
            return error
        return found if keep else Picture(torch.empty(0), found.changes, found.digest)

    def _picture(self, number: int) -> Tensor:
        """The pixels of a usable picture; the next one's where its file has gone bad since, once listed as refused."""
        for step in range(len(self._usable)):
            n = (number + step) % len(self._usable)
            try:
                ahead = self._ahead.get(n)
                return (ahead.result() if ahead else self._read(self._usable[n])).pixels
            except RefacerError as error:
                entry = (self._usable[n], str(error))
                if entry not in self.refused:
                    self.refused.append(entry)
        raise InputRefused(f"{self._usable[number]}: cannot be read any more, nor any other picture of the set")

    def _read(self, name: str) -> Picture:
        """Decode one picture to (3, R, R) uint8; raises InputRefused or UsageError."""
        data = self._entries[name].read(self._archives)
        try:
            picture = open_picture(data, MAX_PIXELS)
            native = native_of(picture)
        except InputRefused as error:
            raise InputRefused(f"{name}: {error}") from error
        rgb = flattened(native, MID_GREY)
        if rgb.shape[0] != rgb.shape[1]:
            raise InputRefused(f"{name}: {rgb.shape[1]}x{rgb.shape[0]} is not square; run `refacer align` first")
        changes = _changes(picture, native, self.resolution, self.expected_px)
        if rgb.shape[0] != self.resolution:
            rgb = rgb_from_tensor(resized(tensor_from_rgb(rgb), self.resolution))
        pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        return Picture(pixels, changes, hashlib.sha256(data).digest())


def _changes(picture: Decoded, native: Native, resolution: int, expected_px: int) -> tuple[str, ...]:
    """What is done to a picture that is not 8-bit RGB of the expected size."""
    mode, side = picture.image.mode, native.shape[0]
    found = {
        "grey, repeated as red, green and blue": mode in GREY_MODES,
        "CMYK, converted to RGB": mode == "CMYK",
        "alpha, laid over mid grey": native.shape[2] == 4,
        "16 bits, rounded to 8": native.dtype == np.uint16,
        f"{side} pixels, resized to {resolution}": side not in (expected_px, resolution),
    }
    return tuple(change for change, done in found.items() if done)
