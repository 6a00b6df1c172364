"""Zips of pictures: read within bounds, written whole or not at all, the same bytes for the same files."""

from __future__ import annotations

import struct
import threading
import zipfile
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path
from typing import BinaryIO, cast

from refacer.errors import InputRefused, OutputNotWritable
from refacer.files.streams import read_stream, replacing

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: files in ours have no other."""

DAMAGE = (zipfile.BadZipFile, zlib.error, LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises where a zip is damaged, encrypted, or packed in a way that it does not know."""


class Archives:
    """Zips that stay open, so that a directory is read once and not for every file; one object serves all threads.

    One thread reads at a time: zipfile of Python 3.12 skips a header's extra field from wherever another thread has
    left the file.
    """

    def __init__(self) -> None:
        self._opened: dict[Path, zipfile.ZipFile] = {}
        self._lock = threading.RLock()

    def opened(self, path: Path) -> zipfile.ZipFile:
        """The zip, opened at the first call; raises zipfile's own errors."""
        with self._lock:
            if path not in self._opened:
                self._opened[path] = zipfile.ZipFile(path)
            return self._opened[path]

    def read(self, path: Path, member: str) -> bytes:
        """One file of a zip, its checksum tested; raises InputRefused, also beyond MAX_FILE_BYTES."""
        name = f"{path}::{member}"
        try:
            with self._lock, self.opened(path).open(member) as stream:
                return read_stream(cast(BinaryIO, stream), name)
        except (*DAMAGE, KeyError, OSError, ValueError) as error:
            raise InputRefused(f"{name}: cannot be read from the zip ({error}); pack it again") from error


def write_zip(path: Path, files: Sequence[Path]) -> None:
    """Pack files, by name, without compressing them again: pictures are compressed already.

    Raises OutputNotWritable; leaves nothing half-written.
    """
    try:
        with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(files, key=lambda file: file.name):
                archive.writestr(zipfile.ZipInfo(file.name, EARLIEST), file.read_bytes())
    except OSError as error:
        raise OutputNotWritable(f"{path}: cannot be written ({error.strerror}); choose another output") from error
