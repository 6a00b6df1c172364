"""Zips of pictures: listed and read within bounds, written whole or not at all, the same bytes for the same files."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from refacer.errors import InputRefused, OutputNotWritable
from refacer.files.encoding import SUFFIXES
from refacer.files.streams import read_stream, replacing

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: files in ours have no other."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def zip_pictures(path: Path) -> list[str]:
    """Sorted names of the pictures in a zip; raises InputRefused."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name for name in archive.namelist() if Path(name).suffix.lower() in SUFFIXES)
    except (*_DAMAGE, OSError) as error:
        raise InputRefused(f"{path}: not a readable zip; pack it again") from error


class Archives:
    """Zips that stay open, so that a directory is read once and not for every file; one object serves all threads."""

    def __init__(self) -> None:
        self._opened: dict[Path, zipfile.ZipFile] = {}
        self._opening = threading.Lock()

    def opened(self, path: Path) -> zipfile.ZipFile:
        """The zip; zipfile's own errors."""
        with self._opening:
            if path not in self._opened:
                self._opened[path] = zipfile.ZipFile(path)
            return self._opened[path]


def read_member(path: Path, member: str, archives: Archives) -> bytes:
    """One file of a zip, its checksum tested; raises InputRefused."""
    name = f"{path}::{member}"
    try:
        with archives.opened(path).open(member) as stream:
            return read_stream(stream, name)  # type: ignore[arg-type]
    except (*_DAMAGE, KeyError, OSError) as error:
        raise InputRefused(f"{name}: cannot be read from the zip; pack it again") from error


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """Pack files, by name, without compressing them again: pictures are compressed already.

    Raises OutputNotWritable; leaves nothing half-written.
    """
    try:
        with replacing(path) as stream:
            _pack(stream, files)
    except OSError as error:
        raise OutputNotWritable(f"{path}: cannot be written ({error.strerror}); choose another output") from error


def _pack(stream: BinaryIO, files: Sequence[Path]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(files, key=lambda file: file.name):
            archive.writestr(zipfile.ZipInfo(file.name, EARLIEST), file.read_bytes())
