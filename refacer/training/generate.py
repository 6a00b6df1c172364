"""The networks of a run and their forward passes, with the random numbers of one part of a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from refacer.device import dtype_of
from refacer.networks.perceptual import Perceptual
from refacer.networks.sketch import SketchExtractor
from refacer.networks.stylegan2.networks import Discriminator, Generator, SynthesisNetwork
from refacer.options import FinetuneOptions, NoiseMode
from refacer.training.augment import Augment
from refacer.training.random import RandomStreams

FROZEN = ("mapping.", ".torgb.")
"""Sec. 4.1: the mapping network and the ToRGB layers keep the weights of G_real."""

SAMPLE_SEED, SAMPLE_BATCH = 7, 8
"""Of the fixed codes that show how a run comes along."""


class Compass(Protocol):
    """A network that places pictures, and the direction (F,) in which a copy is to differ from its source."""

    direction: Tensor

    def embed(self, images: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1] to (N, F), with gradients."""
        ...


@dataclass
class TrainingNetworks:
    """The networks of a run; from `real` on they are frozen, None where a base is trained or a rule has no use for
    them. compass: what says in which direction pictures differ."""

    generator: Generator
    discriminator: Discriminator
    generator_ema: Generator
    real: Generator | None = None
    sketch: SketchExtractor | None = None
    perceptual: Perceptual | None = None
    compass: Compass | None = None


def training_networks(
    generator: Generator, discriminator: Discriminator, device: torch.device, **frozen: Any
) -> TrainingNetworks:
    """Move both networks to the device, in train mode, and start the averaged generator as a copy."""
    generator, discriminator = generator.to(device).train(), discriminator.to(device).train()
    discriminator.requires_grad_(False)
    return TrainingNetworks(generator, discriminator, copy.deepcopy(generator).eval().requires_grad_(False), **frozen)


def trainable_parameters(generator: Generator, frozen: tuple[str, ...]) -> list[nn.Parameter]:
    """The parameters in training: all whose names do not hold one of the `frozen` parts."""
    for parameter in generator.parameters():
        parameter.requires_grad_(False)
    named = generator.named_parameters()
    return [p for name, p in named if not any(part in f"{name}." for part in frozen)]


@dataclass
class ForwardPasses:
    """The networks at work. dtype: of their convolutions; layered: every layer's code is of a z of its own.

    With --compile, synthesis and discriminator are compiled, each as one graph. Path length and R1 call the networks
    themselves: torch.compile has no second derivatives.
    """

    nets: TrainingNetworks
    augment: Augment
    random: RandomStreams
    options: FinetuneOptions
    device: torch.device
    dtype: torch.dtype
    layered: bool = False

    def __post_init__(self) -> None:
        self._synthesize: Callable[..., Tensor] = SynthesisNetwork.drawn
        self._discriminate: Callable[..., Tensor] = Discriminator.forward
        if self.options.compile:
            self._synthesize = torch.compile(self._synthesize, fullgraph=True, dynamic=False)
            self._discriminate = torch.compile(self._discriminate, fullgraph=True, dynamic=False)

    def sample_ws(self, count: int) -> Tensor:
        """Codes of random z (count, num_ws, w_dim), mixed with a second z with probability `style_mixing`.

        The first of the num_ws is never mixed. Layered, every one of them is of another z, and nothing is mixed.
        """
        g = self.nets.generator
        if self.layered:
            return g.mapping(self.normal((count * g.num_ws, g.z_dim)))[:, 0].unflatten(0, (count, g.num_ws))
        ws = g.mapping(self.normal((count, g.z_dim)))
        if self.random.host.random() < self.options.style_mixing:
            cutoff = int(self.random.host.integers(1, g.num_ws))
            other = g.mapping(self.normal((count, g.z_dim)))
            ws = torch.cat([ws[:, :cutoff], other[:, cutoff:]], dim=1)
        return ws

    def generate(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, R, R) of the generator in training, with random noise."""
        return self._synthesis(self.nets.generator, ws, "random")

    def generate_pair(self, ws: Tensor, noise: NoiseMode = "const") -> tuple[Tensor, Tensor]:
        """G_real(w+) without gradient, and G_rendering(w+), each with noise of its own. Needs a G_real."""
        assert self.nets.real is not None
        with torch.no_grad():
            real = self._synthesis(self.nets.real, ws, noise)
        return real, self._synthesis(self.nets.generator, ws, noise)

    def _synthesis(self, network: Generator, ws: Tensor, mode: NoiseMode) -> Tensor:
        """Pictures of codes; the noise is drawn outside of the graph, which holds no random generators."""
        g = network.synthesis
        return self._synthesize(g, ws, g.noise_maps(len(ws), mode, generator=self.random.device), "auto", self.dtype)

    def discriminate(self, images: Tensor) -> Tensor:
        """The discriminator's logits (N, 1) of pictures that are augmented first."""
        return self._discriminate(self.nets.discriminator, self.augmented(images), dtype=self.dtype)

    def augmented(self, images: Tensor) -> Tensor:
        """Pictures as the discriminator sees them."""
        return images if self.options.aug == "none" else self.augment(images, generator=self.random.device)

    def normal(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Samples of N(0, 1) on the device."""
        return torch.randn(shape, generator=self.random.device, device=self.device)


def precision_of(options: FinetuneOptions, device: torch.device) -> torch.dtype:
    """The dtype of the convolutions: with `auto` bfloat16 on CUDA and float32 elsewhere."""
    if options.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return dtype_of(options.precision)


@torch.no_grad()
def sample_pairs(nets: TrainingNetworks, count: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Fixed codes through the averaged generator, and through G_real where there is one: (count, 3, R, R) each."""
    z = torch.randn(count, nets.generator_ema.z_dim, generator=torch.Generator().manual_seed(SAMPLE_SEED))
    ws = [nets.generator_ema.mapping(chunk) for chunk in z.to(device).split(SAMPLE_BATCH)]
    rendering = torch.cat([nets.generator_ema.synthesis(w, noise_mode="const") for w in ws])
    real = torch.cat([nets.real.synthesis(w, noise_mode="const") for w in ws]) if nets.real else None
    return rendering, real
