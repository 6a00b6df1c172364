"""What the networks of a run draw and judge: codes, pictures, verdicts, from the generators of one part of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.networks.stylegan2.networks import Discriminator, Generator, SynthesisNetwork
from refacer.options import FinetuneOptions, NoiseMode
from refacer.training.augment import Augment
from refacer.training.random import Draws
from refacer.training.trained import TrainedNetworks


@dataclass
class Drawing:
    """dtype: of the convolutions.

    With --compile the networks below are compiled, each as one graph. Path length and R1 call the networks themselves:
    torch.compile has no second derivatives.
    """

    nets: TrainedNetworks
    augment: Augment
    draws: Draws
    options: FinetuneOptions
    device: torch.device
    dtype: torch.dtype

    def __post_init__(self) -> None:
        self._draw: Callable[..., Tensor] = self._compiled(SynthesisNetwork.drawn)
        self._judge: Callable[..., Tensor] = self._compiled(Discriminator.forward)

    def _compiled(self, network: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return torch.compile(network, fullgraph=True, dynamic=False) if self.options.compile else network

    def styles(self, count: int) -> Tensor:
        """Codes of random z (count, num_ws, w_dim), mixed with a second z with probability `style_mixing`.

        The first of the num_ws is never mixed.
        """
        g = self.nets.generator
        ws = g.mapping(self.normal((count, g.z_dim)))
        if self.draws.host.random() < self.options.style_mixing:
            cutoff = int(self.draws.host.integers(1, g.num_ws))
            other = g.mapping(self.normal((count, g.z_dim)))
            ws = torch.cat([ws[:, :cutoff], other[:, cutoff:]], dim=1)
        return ws

    def pictures(self, ws: Tensor) -> Tensor:
        """What the generator in training draws, with random noise: (N, 3, R, R)."""
        return self._drawn(self.nets.generator, ws, "random")

    def portraits(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        """G_real(w+) without gradient, and G_rendering(w+), each with its constant noise. Needs a G_real."""
        assert self.nets.real is not None
        with torch.no_grad():
            real = self._drawn(self.nets.real, ws, "const")
        return real, self._drawn(self.nets.generator, ws, "const")

    def judged(self, images: Tensor) -> Tensor:
        """The discriminator's logits of pictures that are augmented first."""
        return self._judge(self.nets.discriminator, self.augmented(images), dtype=self.dtype)

    def _drawn(self, network: Generator, ws: Tensor, mode: NoiseMode) -> Tensor:
        """What a generator draws of codes; its noise is drawn first, since graphs hold no random generators."""
        g = network.synthesis
        return self._draw(g, ws, g.noise_maps(len(ws), mode, generator=self.draws.device), "auto", self.dtype)

    def augmented(self, images: Tensor) -> Tensor:
        """What the discriminator sees of pictures."""
        return images if self.options.aug == "none" else self.augment(images, generator=self.draws.device)

    def normal(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """Normal numbers on the device."""
        return torch.randn(shape, generator=self.draws.device, device=self.device)


def precision_of(options: FinetuneOptions, device: torch.device) -> torch.dtype:
    """bfloat16 for the convolutions on CUDA, float32 elsewhere, unless asked."""
    if options.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[options.precision]
