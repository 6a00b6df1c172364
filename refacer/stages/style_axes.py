"""Axes of W+ along which Adam finds a code in fewer steps: those of each layer's styles.

Adam gives every number it moves a rate of its own, by how large the gradient is there. The numbers of a code all mix in
every layer's styles, so that none of them is steep or flat by itself; along the eigenvectors of the styles' own weights
some are. Those are the directions of Shen & Zhou 2021 (SeFa, arXiv:2007.06600); that Adam gains from turned
coordinates is Vyas et al. 2024 (SOAP, arXiv:2409.11321). The turning is fixed here, and known from the generator alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refacer.networks.stylegan2.layers import SynthesisLayer, ToRGB
from refacer.networks.stylegan2.networks import Generator

FLAT = 1e-6  # of a layer's largest eigenvalue: no picture changes along such an axis, and no code is moved along it


@torch.no_grad()
def style_axes(generator: Generator) -> Tensor:
    """The axes of every code of W+, (num_ws, w_dim, w_dim): unit columns, or zeros where a layer does not look.

    A style counts by what it scales: the kernel behind it, and the activations that reach it at the average code.
    """
    reach = _activations(generator)
    found = [torch.zeros(generator.w_dim, generator.w_dim, dtype=torch.float64) for _ in range(generator.num_ws)]
    for layer, i in _readers(generator):
        scaled = layer.weight.double().square().sum((0, *range(2, layer.weight.ndim))).sqrt() * reach[layer]
        styles = (layer.affine.weight.double() * scaled[:, None]).cpu()
        found[i] += styles.T @ styles
    return torch.stack([_steep(matrix) for matrix in found]).float().to(generator.mapping.w_avg.device)


def _readers(generator: Generator) -> list[tuple[SynthesisLayer | ToRGB, int]]:
    """Every layer that takes styles, and which code of W+ they come from."""
    found: list[tuple[SynthesisLayer | ToRGB, int]] = []
    first = 0
    for block in generator.synthesis.blocks():
        layers = [*block.convs.values(), block.torgb]
        found += [(layer, first + i) for i, layer in enumerate(layers)]
        first += len(layers) - 1  # a block's ToRGB shares its code with the next block's first layer
    return found


def _activations(generator: Generator) -> dict[SynthesisLayer | ToRGB, Tensor]:
    """The root mean square of each channel that reaches a layer, float64 (C,), where all codes are the average."""
    found: dict[SynthesisLayer | ToRGB, Tensor] = {}

    def note(layer: SynthesisLayer | ToRGB, given: tuple[Tensor, ...]) -> None:
        found[layer] = given[0].double().square().mean((0, 2, 3)).sqrt()

    hooks = [layer.register_forward_pre_hook(note) for layer, _ in _readers(generator)]
    try:
        generator.synthesis(generator.mapping.w_avg.expand(1, generator.num_ws, -1), noise_mode="const")
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _steep(matrix: Tensor) -> Tensor:
    """Eigenvectors as columns; zeros for those along which nothing changes."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * (values > FLAT * values[-1])
