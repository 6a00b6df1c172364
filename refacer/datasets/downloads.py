"""The pictures that a data set is made of: in folders and zips, single files, and behind URLs, each fetched once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer import console
from refacer.errors import InputRefused, OutputNotWritable, RefacerError, UsageError
from refacer.files import READABLE, write_atomic
from refacer.files.archives import Archives
from refacer.files.sources import Entry, Listing, is_zip, list_folder, list_zip, read_list
from refacer.options import PICTURE_DOWNLOAD, DownloadOptions
from refacer.weights.download import NotDownloadedError, Wanted, discard, download_file

LISTS = (".txt", ".urls")
"""Suffixes of lists of URLs."""


@dataclass(frozen=True)
class Item:
    """One picture by the name that the user knows: `entry` of a folder or zip, or, without one, a URL."""

    name: str
    entry: Entry | None = None

    def read(self, downloads: Path, archives: Archives) -> bytes:
        """Its bytes; raises InputRefused, UsageError or OutputNotWritable.

        downloads: the folder of what was fetched before; archives: the zips that this process has opened so far.
        """
        return self.entry.read(archives) if self.entry else fetch(self.name, downloads)


@dataclass(frozen=True)
class Gathered:
    """All pictures by name, each once, and what could not be looked into."""

    items: tuple[Item, ...]
    refused: tuple[tuple[str, RefacerError], ...]

    @property
    def count(self) -> int:
        """Pictures and what was refused."""
        return len(self.items) + len(self.refused)


def gather(sources: Sequence[Path], *, skip: Path, offline: bool) -> Gathered:
    """Look into every source but not into `skip`; raises UsageError where that is impossible or gives nothing."""
    refused: list[tuple[str, RefacerError]] = []
    items: dict[str, Item] = {}
    for source in sources:
        try:
            if source.suffix.lower() in LISTS and not source.is_dir():
                items |= {url: Item(url) for url in _urls(source, offline)}
                continue
            listing = _listing(source, skip)
        except InputRefused as error:
            refused.append((str(source), error))
            continue
        items |= {entry.name: Item(entry.name, entry) for entry in listing.entries}
        refused += listing.refused
        if listing.doubled:
            console.warn(f"{source}: {len(listing.doubled)} links to pictures of the set are left out")
    if not items and not refused:
        raise UsageError(f"{', '.join(map(str, sources))}: holds no picture ({' '.join(READABLE)})")
    return Gathered(tuple(items[name] for name in sorted(items)), tuple(refused))


def fetch(url: str, folder: Path, options: DownloadOptions = PICTURE_DOWNLOAD) -> bytes:
    """The picture behind a URL, from `folder` where it has been fetched before.

    Raises InputRefused where it cannot be had, OutputNotWritable where the folder cannot be written to.
    """
    kept = folder / hashlib.sha256(url.encode()).hexdigest()[:32]
    if kept.is_file():
        return kept.read_bytes()
    if not url.lower().startswith(("http://", "https://")):
        raise InputRefused(f"{url}: not an http or https address; mend the list")
    part = kept.with_name(f"{kept.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download_file(Wanted(url, (url,), elsewhere="choose another folder with -o"), part, options)
        data = part.read_bytes()
        write_atomic(kept, data)
    except NotDownloadedError as failure:
        reason = failure.reasons[url]
        advice = "run the same command again, or take it off the list"
        raise InputRefused(f"{url}: not downloaded ({reason}); {advice}") from failure
    except OSError as error:
        raise OutputNotWritable(f"{folder}: cannot be written ({error.strerror}); choose another one") from error
    finally:
        discard(part)
    return data


def _listing(source: Path, skip: Path) -> Listing:
    """What a source that is no list of URLs holds."""
    if source.is_dir():
        return list_folder(source, skip=[skip])
    if source.suffix.lower() in READABLE:
        return Listing((Entry(source, Path(source.name)),))
    if is_zip(source):
        return list_zip(source)
    raise UsageError(f"{source}: neither a folder, a zip, a picture nor a list of URLs ({' '.join(LISTS)})")


def _urls(source: Path, offline: bool) -> list[str]:
    if offline:
        raise UsageError(f"{source}: a list of URLs needs the network; leave --offline or the list out")
    return read_list(source)
