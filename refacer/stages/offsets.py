"""Codes whose generator's weights change with them: HyperStyle's loop, and drawing with another process's offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from refacer.errors import ShapeMismatch
from refacer.networks.hyperstyle import HyperStyle, layer_names
from refacer.networks.perceptual import Perceptual, distance
from refacer.networks.stylegan2.networks import Generator
from refacer.stages.inversion import Inversion, Offsets, fitted_faces
from refacer.types import Progress

SYNTHESIS = "synthesis."


@dataclass(frozen=True)
class HyperInversion:
    """HyperStyle as an inverter; perceptual: measures how far the pictures are from the faces."""

    network: HyperStyle
    perceptual: Perceptual

    @torch.no_grad()
    def __call__(self, faces: Tensor, generator: Generator, *, progress: Progress | None = None) -> Inversion:
        """See `Inverter`. The offsets are float16, as they travel."""
        network = self.network
        network.check(generator)
        fitted = fitted_faces(faces, generator.img_resolution)
        codes, found = looked(network, faces, generator, network.config.passes, progress)
        offsets = {name: value.half() for name, value in found.items()}
        drawn = drawn_with(generator, codes, offsets, noise_mode="const")
        return Inversion(codes, distance(self.perceptual.features(drawn), self.perceptual.features(fitted)), offsets)


def looked(
    network: HyperStyle, faces: Tensor, generator: Generator, passes: int, progress: Progress | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Codes of faces (N, 3, S, S), and the offsets after so many looks: none after no look."""
    codes, names = network.codes(faces), layer_names(generator.config)
    offsets: dict[str, Tensor] = {}
    for step in range(passes):
        shares = network.shares(faces, drawn_with(generator, codes, offsets, noise_mode="const"))
        offsets = added(offsets, shares, names)
        if progress:
            progress(step + 1, passes)
    return codes, offsets


def added(offsets: Offsets, shares: Mapping[int, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Offsets with another look's shares, by the layers' place among `names`."""
    return {names[index]: share.float() + offsets.get(names[index], 0) for index, share in shares.items()}


def drawn_with(generator: Generator, codes: Tensor, offsets: Offsets | None, /, **settings: Any) -> Tensor:
    """Pictures (N, 3, R, R) of codes, each with weights of its own: weight (1 + offset).

    settings: of `SynthesisNetwork.forward`. Raises ShapeMismatch where the offsets are not the generator's.
    """
    if not offsets:
        return generator.synthesis(codes, **settings)
    check_offsets(generator, offsets, len(codes))
    weights = generator.state_dict()
    pictures = []
    for i, code in enumerate(codes.split(1)):
        changed = {
            name.removeprefix(SYNTHESIS): weights[name] * (1 + offset[i].to(weights[name]))
            for name, offset in offsets.items()
        }
        pictures.append(functional_call(generator.synthesis, changed, (code,), settings))
    return torch.cat(pictures)


def check_offsets(generator: Generator, offsets: Mapping[str, Tensor], count: int) -> None:
    """Raise ShapeMismatch unless there is a set for each code and each fits a convolution's weight."""
    known = set(layer_names(generator.config))
    weights = {name: tensor.shape for name, tensor in generator.state_dict().items() if name in known}
    for name, offset in offsets.items():
        if name not in weights:
            raise ShapeMismatch(f"the codes change {name}, which this generator does not have; use its own generator")
        shape = weights[name]
        if offset.shape[:1] != (count,) or offset.shape[1:] not in (shape, (*shape[:2], 1, 1)):
            told = f"the codes change {name} by {tuple(offset.shape)}; {count} codes of this generator need"
            raise ShapeMismatch(f"{told} {(count, *shape)}")
