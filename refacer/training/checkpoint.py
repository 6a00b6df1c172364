"""Checkpoints of a run: the last two are kept, each written whole or not at all, none holds code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from refacer.errors import InputRefused
from refacer.files import read_bytes, write_atomic
from refacer.files.archives import DAMAGE

KEPT = 2
PARTS = ".refacer-*.part"
"""What `write_atomic` leaves behind when the process is killed outright."""


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write a state named by the images seen and remove all but the last two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"state-{state['images_seen']:09d}.pt"
    write_atomic(path, buffer.getvalue())
    remove_old(folder)
    return path


def remove_old(folder: Path) -> None:
    """Remove all states but the last two."""
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def checkpoints(folder: Path) -> list[Path]:
    """The states of a folder, oldest first."""
    return sorted(folder.glob("state-*.pt"))


def decode_checkpoint(data: bytes, path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A state from the bytes of `path`. torch checks no sums of what it reads: a flipped bit would go on training."""
    try:
        damaged = zipfile.ZipFile(io.BytesIO(data)).testzip()
        state = None if damaged else torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        if isinstance(state, dict) and type(state.get("images_seen")) is int:
            return state
        raise ValueError(damaged or "no state of a run")
    except (*DAMAGE, pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputRefused(f"{path}: damaged checkpoint; remove it to go on from the one before") from error


def latest(folder: Path) -> tuple[tuple[Path, bytes] | None, list[Path]]:
    """The newest readable state as its bytes, None where there is none, and the damaged ones that were passed over."""
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        try:
            data = read_bytes(path)
            decode_checkpoint(data, path, "meta")
        except InputRefused:
            damaged.append(path)
        else:
            return (path, data), damaged
    return None, damaged


def load_latest(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest readable state, None where there is none, and the damaged ones that were passed over."""
    found, damaged = latest(folder)
    return (None if found is None else decode_checkpoint(found[1], found[0], device)), damaged


def remove_parts(folder: Path) -> None:
    """Remove half-written files of a run that was killed; no other run may be writing there."""
    for part in folder.rglob(PARTS):
        part.unlink(missing_ok=True)
