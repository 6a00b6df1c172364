"""Decode W+ codes into faces: the realistic generator's answer to the projected code (Sec. 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from refacer.device import seeded_generator
from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.networks import Generator
from refacer.options import DecodeOptions
from refacer.stages.inversion import Offsets
from refacer.stages.offsets import drawn_with


@torch.no_grad()
def decode(codes: Tensor, generator: Generator, options: DecodeOptions, offsets: Offsets | None = None) -> Tensor:
    """Pictures (N, 3, R, R), nominally in [-1, 1], of codes (N, num_ws, w_dim).

    offsets: changes of the generator's weights, where they belong to the codes.

    A code of W, (N, 1, w_dim), goes to every layer. One at a time, so that neither the pixels nor the random noise of a
    face depend on its place in a batch.
    Raises ShapeMismatch where the codes or offsets are not this generator's.
    """
    shape = (generator.num_ws, generator.w_dim)
    if codes.ndim == 3 and codes.shape[1:] == (1, generator.w_dim):
        codes = codes.expand(-1, generator.num_ws, -1)
    if codes.ndim != 3 or codes.shape[1:] != shape:
        raise ShapeMismatch(f"codes have shape {tuple(codes.shape)}; this generator takes (N, {shape[0]}, {shape[1]})")
    ws = truncate(codes.float(), generator.mapping.w_avg, options.truncation_psi)
    pictures = []
    for i, w in enumerate(ws.split(1)):
        source = seeded_generator(options.seed) if options.noise_mode == "random" else None
        own = offsets and {name: value[i : i + 1] for name, value in offsets.items()}
        pictures.append(drawn_with(generator, w, own, noise_mode=options.noise_mode, generator=source))
    return torch.cat(pictures) if pictures else codes.new_empty(0, 3, *(generator.img_resolution,) * 2)


def truncate(codes: Tensor, w_avg: Tensor, psi: float) -> Tensor:
    """w_avg + psi (w - w_avg), the truncation trick of Karras et al. 2019; 1 leaves the codes as they are."""
    return codes if psi == 1 else w_avg.lerp(codes, psi)
