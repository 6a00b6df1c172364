"""Inversion by optimisation under a latent prior: II2S, Zhu et al. 2020 (arXiv:2012.09036).

A code for each layer starts at the average and is drawn towards codes that the mapping network makes. Noise is drawn
anew at every step and never kept, so that no part of the face can hide in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from refacer.device import dtype_of, seeded_generator
from refacer.errors import RefacerError
from refacer.networks.perceptual import Perceptual, distance, features_in
from refacer.networks.stylegan2.networks import Generator
from refacer.networks.stylegan2.noise import draw
from refacer.options import II2SOptions, WStatistics
from refacer.stages.code_prior import code_prior
from refacer.stages.inversion import Inversion, fitted_faces
from refacer.stages.project import CHECK_STEPS, frozen, repeatable
from refacer.types import Progress


@dataclass(frozen=True)
class II2S:
    """The method as an inverter; perceptual: LPIPS or its stand-in."""

    perceptual: Perceptual
    options: II2SOptions

    def __call__(self, faces: Tensor, generator: Generator, *, progress: Progress | None = None) -> Inversion:
        """See `Inverter`; raises RefacerError when the loss is no longer finite."""
        o, dtype = self.options, dtype_of(self.options.precision)
        sources = [seeded_generator(o.seed) for _ in faces]
        fitted = fitted_faces(faces, generator.img_resolution)
        with frozen(generator, self.perceptual), repeatable(), torch.enable_grad():
            target = features_in(dtype, self.perceptual, fitted)
            prior = code_prior(generator, WStatistics(samples=o.prior_samples), floor=o.prior_floor)
            codes = generator.mapping.w_avg.expand(len(faces), generator.num_ws, -1).clone().requires_grad_()
            adam = torch.optim.Adam([codes], lr=o.lr, betas=o.adam_betas, fused=True)
            for step in range(o.steps):
                drawn = self._drawn(codes, generator, sources, dtype)
                features = features_in(dtype, self.perceptual, drawn)
                apart = (drawn - fitted).square().mean((1, 2, 3)) + distance(features, target)
                loss = (apart + o.prior_weight * prior(codes)).sum()
                adam.zero_grad()
                loss.backward()
                adam.step()
                if step % CHECK_STEPS == 0 and not bool(loss.isfinite()):
                    raise RefacerError(f"II2S lost its way: not finite at step {step}; use a smaller --lr")
                if progress:
                    progress(step + 1, o.steps)
        with torch.no_grad():
            kept = generator.synthesis(codes, noise_mode="const")
            apart = distance(self.perceptual.features(kept), self.perceptual.features(fitted))
            return Inversion(codes.detach(), apart)

    @staticmethod
    def _drawn(codes: Tensor, generator: Generator, sources: list[torch.Generator], dtype: torch.dtype) -> Tensor:
        """Pictures with fresh noise, each face's from a source of its own."""
        noise = {
            key: draw(sources, (1, *buffer.shape), codes.device)
            for key, buffer in generator.synthesis.noise_buffers().items()
        }
        return generator.synthesis(codes, noise=noise, modulate="activations", dtype=dtype)
