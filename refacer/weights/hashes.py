"""The sha256 of files, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from refacer.errors import InputRefused


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; raises InputRefused for a device or a pipe, which may have no end."""
    if path.exists() and not path.is_file():
        raise InputRefused(f"{path}: not a regular file; copy what it gives into one")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
