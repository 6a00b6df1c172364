"""What a user may name as a place: a path, or the URL of a place that fsspec knows."""

from __future__ import annotations

from pathlib import Path

import typer

from refacer.errors import UsageError


def is_there(path: Path) -> bool:
    """Whether a path leads somewhere; raises UsageError where nobody can tell, as behind a URL."""
    try:
        return path.exists()
    except Exception as error:  # libraries behind URLs raise their own
        raise UsageError(f"{path}: cannot be reached ({str(error).strip().partition(chr(10))[0]})") from error


def place(name: str) -> Path:
    """A path, or what stands for the URL of a place that fsspec knows."""
    from refacer.files.urls import as_path  # --help is quick

    return as_path(name)


def local(path: Path | None) -> Path | None:
    """Typer's message for a URL where only a file of this machine is written."""
    if path is None:
        return None
    from refacer.files.urls import names_url  # --help is quick

    if names_url(path):
        raise typer.BadParameter(f"'{path}' is a URL; name a file or folder.")
    return path
