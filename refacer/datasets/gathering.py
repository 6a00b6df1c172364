"""The pictures that a data set is made of: from folders, zips, lists of URLs and single files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer.datasets.downloads import fetch, read_url_list
from refacer.errors import InputRefused, RefacerError, UsageError
from refacer.files import SUFFIXES, read_bytes
from refacer.files.archives import Archives, read_member, zip_pictures
from refacer.options import FetchOptions

LISTS = (".txt", ".urls")
"""Suffixes of lists of URLs."""


@dataclass(frozen=True)
class Item:
    """One picture: a file, the member of a zip, or a URL; name: as the user knows it."""

    name: str
    path: Path | None = None
    member: str | None = None

    def read(self, downloads: Path, options: FetchOptions, archives: Archives) -> bytes:
        """Its bytes; raises InputRefused or UsageError. archives: the zips that this process has opened so far."""
        if self.path is None:
            return fetch(self.name, downloads, options)
        return read_member(self.path, self.member, archives) if self.member else read_bytes(self.path)


@dataclass(frozen=True)
class Gathered:
    """All pictures in order, each once, and what could not be looked into."""

    items: tuple[Item, ...]
    refused: tuple[tuple[str, RefacerError], ...]

    @property
    def count(self) -> int:
        """Both together."""
        return len(self.items) + len(self.refused)


def gather(sources: Sequence[Path], *, skip: Path, offline: bool) -> Gathered:
    """Look into every source but not into `skip`; raises UsageError where that is impossible or gives nothing."""
    refused: list[tuple[str, RefacerError]] = []
    found = [item for source in sources for item in _items(source, skip, offline, refused)]
    items = {item.name: item for item in found}
    if not items and not refused:
        raise UsageError(f"{', '.join(map(str, sources))}: holds no picture ({' '.join(SUFFIXES)})")
    return Gathered(tuple(items[name] for name in sorted(items)), tuple(refused))


def _items(source: Path, skip: Path, offline: bool, refused: list[tuple[str, RefacerError]]) -> Iterator[Item]:
    if source.is_dir():
        yield from _in_folder(source, skip, refused)
    elif source.suffix.lower() in SUFFIXES:
        yield Item(str(source), source)
    elif source.suffix.lower() in LISTS:
        if offline:
            raise UsageError(f"{source}: a list of URLs needs the network; leave --offline or the list out")
        yield from (Item(url) for url in read_url_list(source))
    elif zipfile.is_zipfile(source):
        yield from (Item(f"{source}::{member}", source, member) for member in zip_pictures(source))
    else:
        raise UsageError(f"{source}: neither a folder, a zip, a picture nor a list of URLs ({' '.join(LISTS)})")


def _in_folder(source: Path, skip: Path, refused: list[tuple[str, RefacerError]]) -> Iterator[Item]:
    """The pictures of a folder and of those in it; hidden ones are left out."""
    avoided = os.path.realpath(skip)

    def unreadable(error: OSError) -> None:
        refused.append((str(error.filename), InputRefused(f"{error.filename}: cannot be read ({error.strerror})")))

    for folder, names, files in os.walk(source, onerror=unreadable):
        names[:] = [n for n in names if not n.startswith(".") and os.path.realpath(Path(folder, n)) != avoided]
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Item(str(Path(folder, name)), Path(folder, name))
