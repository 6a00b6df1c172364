"""Random networks small enough for a test, the same at each call with the same seed.

Unless a test asks for something else: pictures of 16 pixels from 3 blocks (4, 8 and 16 pixels) of 8, 8 and 4 channels,
z and w of 8 numbers, 2 mapping layers, 6 codes a picture: codes are (N, 6, 8).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

SIZES = {"img_resolution": 16, "channel_base": 64, "channel_max": 8}
"""What a tiny generator and its discriminator have in common."""

CODES = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2}


def tiny_config(**changes: Any) -> GeneratorConfig:
    """The shape of a tiny generator, with changes to GeneratorConfig's fields."""
    return GeneratorConfig(**{**SIZES, **CODES, **changes})


def tiny_generator(*, seed: int = 0, noise: float = 0.0, frozen: bool = False, **changes: Any) -> Generator:
    """A tiny generator in training mode; leaves torch's own random numbers at a known place.

    noise: the strength of every layer's noise, which is 0 in a fresh network; frozen: without gradients, in eval mode.
    """
    torch.manual_seed(seed)
    generator = Generator(tiny_config(**changes))
    for name, parameter in generator.named_parameters():
        if noise and name.endswith("noise_strength"):
            nn.init.constant_(parameter, noise)
    return generator.eval().requires_grad_(False) if frozen else generator


def tiny_discriminator(*, seed: int = 0, frozen: bool = False, **changes: Any) -> Discriminator:
    """The discriminator of a tiny generator, with changes to DiscriminatorConfig's fields; else as tiny_generator."""
    torch.manual_seed(seed)
    discriminator = Discriminator(DiscriminatorConfig(**{**SIZES, **changes}))
    return discriminator.eval().requires_grad_(False) if frozen else discriminator
