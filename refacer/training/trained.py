"""The networks of a run: which are trained, which stay as they are (Sec. 4.1)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from refacer.networks.perceptual import Perceptual
from refacer.networks.sketch import SketchExtractor
from refacer.networks.stylegan2.networks import Discriminator, Generator

FROZEN = ("mapping.", ".torgb.")
"""Sec. 4.1: the mapping network and the ToRGB layers keep the weights of G_real."""


@dataclass
class TrainedNetworks:
    """The networks of a run; `real`, `sketch` and `perceptual` are frozen, None where a base is trained."""

    generator: Generator
    discriminator: Discriminator
    generator_ema: Generator
    real: Generator | None = None
    sketch: SketchExtractor | None = None
    perceptual: Perceptual | None = None


def trainable_parameters(generator: Generator, *, freeze: bool) -> list[nn.Parameter]:
    """The parameters in training; with `freeze` all but the mapping network and the ToRGB layers (Sec. 4.1)."""
    for parameter in generator.parameters():
        parameter.requires_grad_(False)
    named = generator.named_parameters()
    return [p for name, p in named if not (freeze and any(part in f"{name}." for part in FROZEN))]


def make_networks(
    generator: Generator, discriminator: Discriminator, device: torch.device, **frozen: Any
) -> TrainedNetworks:
    """Move the networks to the device and start the average from the generator."""
    generator, discriminator = generator.to(device).train(), discriminator.to(device).train()
    discriminator.requires_grad_(False)
    return TrainedNetworks(generator, discriminator, copy.deepcopy(generator).eval().requires_grad_(False), **frozen)
