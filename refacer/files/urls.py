"""Places behind URLs, such as s3:// and gs://, as far as fsspec knows them; they are treated as paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeGuard, cast

from refacer.errors import InputRefused, OutputNotWritable, UsageError

MARK = "://"

FOLDERS = ("file", "local", "memory", "ftp", "sftp", "ssh", "smb", "hdfs")
"""Protocols of places whose folders must be made; in the others a name may hold any number of slashes."""


def is_url(path: object) -> TypeGuard[Path]:
    """Whether `as_path` gave a path for a URL."""
    return hasattr(path, "protocol")


def names_url(name: str | Path) -> bool:
    """Whether a name is a URL; a Path that was made of one has lost a slash. Nothing is loaded for it."""
    return MARK in name if isinstance(name, str) else bool(re.match(r"\w[\w+.-]+:/", str(name)))


def as_path(name: str) -> Path:
    """A path, or what behaves like one for a URL; raises UsageError where nothing here knows its protocol."""
    if not names_url(name):
        return Path(name)
    try:
        from upath import UPath

        path = UPath(name.rstrip("/"))
        _ = path.fs
    except ImportError as error:
        told = str(error) if "upath" not in str(error) else "URLs need fsspec; run `pip install 'refacer[cluster]'`"
        raise UsageError(f"{name}: cannot be reached ({told})") from error
    except Exception as error:
        raise UsageError(f"{name}: cannot be reached ({reason_of(error)})") from error
    return cast(Path, path)


def reason_of(error: Exception) -> str:
    """What a library says in its error, on one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def files_below(top: Path) -> list[tuple[Path, Path]]:
    """All files behind a URL, sorted, each with its path below it; raises InputRefused."""
    fs, root = cast(Any, top).fs, str(cast(Any, top).path).rstrip("/")
    try:
        below = sorted(name[len(root) :].lstrip("/") for name in fs.find(root))
    except Exception as error:
        raise InputRefused(f"{top}: cannot be looked into ({reason_of(error)})") from error
    return [(top / name, Path(name)) for name in below]


def write_url(path: Path, data: bytes) -> None:
    """Write behind a URL; stores of objects show all of it or nothing. Raises OutputNotWritable."""
    try:
        if cast(Any, path).protocol in FOLDERS:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except Exception as error:
        raise OutputNotWritable(f"{path}: cannot be written ({reason_of(error)}); choose another output") from error
