"""Random numbers as a function of where they are used: of seed, iteration, phase and part of the batch.

The generators are seeded anew for each part of a batch in each phase, and nowhere else. Whichever process computes a
part, on whichever device round, therefore draws the same codes, noise, augmentation and jitter for it; a resumed run
needs no state but the iteration; looking at a run between two iterations does not change it.
"""

from __future__ import annotations

import numpy as np
import torch

PHASES = ("generator", "path_length", "discriminator", "r1", "look")
"""What draws; `look` is measuring, which leaves no trace."""


class Draws:
    """The generators of one process: `host` for single numbers, `cpu` and `device` for tensors there."""

    host: np.random.Generator

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.cpu = torch.Generator("cpu")
        self.device = torch.Generator(device)
        self.begin("look", 0, 0)

    def begin(self, phase: str, iteration: int, part: int) -> None:
        """Seed all three for one part of a batch; waits for no device."""
        source = np.random.SeedSequence((self.seed, iteration, PHASES.index(phase), part))
        cpu, device = source.generate_state(2, np.uint64)
        self.host = np.random.default_rng(source)
        self.cpu.manual_seed(int(cpu))
        self.device.manual_seed(int(device))
