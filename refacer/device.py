"""Choice of the device and seeding."""

from __future__ import annotations

import torch

from refacer.errors import UsageError


def choose_device(name: str = "auto") -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:N' or 'mps' -> a device that exists; raises UsageError otherwise."""
    if name == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda, cuda:N or mps") from error
    if not _exists(device):
        raise UsageError(f"--device {name}: not available here; use --device cpu")
    return device


def seeded_generator(seed: int) -> torch.Generator:
    """A generator of its own for one face: drawn on the CPU, so that every device sees the same numbers."""
    return torch.Generator("cpu").manual_seed(seed)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _exists(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
