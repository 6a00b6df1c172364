"""Means over a tick, summed on the device so that the inner loop never waits for it."""

from __future__ import annotations

import torch
from torch import Tensor


class Statistics:
    """Named running means; `take` reads and resets them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add values of any shape to a name."""
        total = values.detach().float().sum()
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + values.numel()

    def take(self) -> dict[str, float]:
        """The means since the last call; this waits for the device."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means
