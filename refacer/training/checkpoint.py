"""Checkpoints of a run: the last two are kept, each written whole or not at all, none holds code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from refacer.errors import InputRefused
from refacer.files import write_atomic

KEPT = 2


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write a state named by the images seen and remove all but the last two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"state-{state['images_seen']:09d}.pt"
    write_atomic(path, buffer.getvalue())
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The states of a folder, oldest first."""
    return sorted(folder.glob("state-*.pt"))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one state without running code from it; raises InputRefused where it is damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise InputRefused(f"{path}: damaged checkpoint; remove it to go on from the one before") from error


def load_latest(folder: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest readable state, None where there is none, and the damaged ones that were passed over."""
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        try:
            return load_checkpoint(path, device), damaged
        except InputRefused:
            damaged.append(path)
    return None, damaged
