"""Inversion by an encoder: one look at a face, or a few, and its code is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.errors import ShapeMismatch
from refacer.networks.encoders import FaceEncoder
from refacer.networks.perceptual import Perceptual, distance
from refacer.networks.stylegan2.networks import Generator
from refacer.stages.inversion import Inversion, fitted_faces
from refacer.types import Progress

STRAY = 0.25
"""How far apart the average codes of an encoder and its generator may be, in units of the spread of w: both are means
over many samples, so that those of one generator hardly differ."""


@dataclass(frozen=True)
class Encoding:
    """An encoder as an inverter; perceptual: measures how far the codes' pictures are from the faces."""

    encoder: FaceEncoder
    perceptual: Perceptual

    @torch.no_grad()
    def __call__(self, faces: Tensor, generator: Generator, *, progress: Progress | None = None) -> Inversion:
        """See `Inverter`. Its pictures are drawn with the generator's constant noise."""
        fitted = fitted_faces(faces, generator.img_resolution)
        codes = self.encoder(faces, generator)
        drawn = generator.synthesis(codes, noise_mode="const")
        if progress:
            progress(1, 1)
        apart = distance(self.perceptual.features(drawn), self.perceptual.features(fitted))
        return Inversion(codes, apart)


def check_is_of(encoder: FaceEncoder, generator: Generator, w_std: float, name: str) -> None:
    """Raise ShapeMismatch unless an encoder's codes are a generator's: their shape, and where they lie on average."""
    encoder.check(generator)
    check_average(encoder.latent_avg, generator, w_std, name)


def check_average(average: Tensor, generator: Generator, w_std: float, name: str) -> None:
    """The same for an average code alone, (num_ws, w_dim)."""
    strays = (average - generator.mapping.w_avg.to(average.device)).norm(dim=1).mean()
    if float(strays) > STRAY * w_std:
        told = f"--inverter {name}: the encoder is another generator's, its average code is not this one's"
        raise ShapeMismatch(f"{told}; use --pair with the generator it was trained for, or --inverter optimise")
