"""A trainer over tiny random networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.networks.sketch import LineExtractor
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.options import FinetuneOptions
from refacer.training.dataset import FaceDataset
from refacer.training.generate import training_networks
from refacer.training.processes import Processes
from refacer.training.trainer import Trainer


def tiny_trainer(
    pictures: Path,
    options: Mapping[str, Any],
    *,
    resolution: int = 32,
    channel_base: int = 256,
    channel_max: int = 16,
    codes: int = 16,
    seed: int = 0,
    processes: Processes | None = None,
) -> Trainer:
    """The same at each call with the same seed; codes: length of z and w."""
    torch.manual_seed(seed)
    sizes = {"img_resolution": resolution, "channel_base": channel_base, "channel_max": channel_max}
    generator = Generator(GeneratorConfig(z_dim=codes, w_dim=codes, mapping_layers=2, **sizes))
    discriminator = Discriminator(DiscriminatorConfig(**sizes))
    frozen = {
        "real": copy.deepcopy(generator).eval().requires_grad_(False),
        "sketch": LineExtractor(),
        "perceptual": DiscriminatorFeatures(copy.deepcopy(discriminator).requires_grad_(False)),
    }
    cpu = torch.device("cpu")
    nets = training_networks(generator, discriminator, cpu, **frozen)
    return Trainer(nets, FaceDataset([pictures], resolution), FinetuneOptions(**options), cpu, processes)
