"""Random numbers as a function of where they are used: of seed, iteration, phase and part of the batch.

The generators are seeded anew for each part of a batch in each phase, and nowhere else. Whichever process computes a
part, in whichever round, therefore has the same codes, noise, augmentation and jitter for it; a resumed run needs no
state but the iteration; measuring between two iterations does not change the run.
"""

from __future__ import annotations

import numpy as np
import torch

PHASES = ("generator", "path_length", "discriminator", "r1", "measure")
"""What needs random numbers, in the order that the seeds depend on; `measure` is between two iterations."""


class RandomStreams:
    """The generators of one process: `host` for single numbers, `cpu` and `device` for tensors there."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.cpu = torch.Generator("cpu")
        self.device = torch.Generator(device)
        self.host = np.random.default_rng(seed)
        self.start("measure", 0, 0)

    def start(self, phase: str, iteration: int, part: int) -> None:
        """Seed all three for one part of a batch; waits for no device."""
        source = np.random.SeedSequence((self.seed, iteration, PHASES.index(phase), part))
        cpu, device = source.generate_state(2, np.uint64)
        self.host = np.random.default_rng(source)
        self.cpu.manual_seed(int(cpu))
        self.device.manual_seed(int(device))
