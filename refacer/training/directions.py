"""The loss of StyleGAN-NADA (Gal et al. 2021): both pictures of a code are to differ in one given direction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.options import FinetuneOptions
from refacer.training.generate import FROZEN, Compass, TrainingNetworks
from refacer.training.rules import Rule, Term

LEAST = 1e-6
"""Added to the first step's differences, which are zero."""


def direction_loss(source: Tensor, copy: Tensor, compass: Compass) -> Tensor:
    """1 - cos between the given direction and that from E(source) to E(copy), both E of unit length: (N,)."""
    with torch.no_grad():
        start = F.normalize(compass.embed(source))
    moved = F.normalize(compass.embed(copy)) - start + LEAST
    return 1 - F.cosine_similarity(moved, compass.direction[None])


def direction_terms(nets: TrainingNetworks, o: FinetuneOptions, _dtype: torch.dtype) -> dict[str, Term]:
    """That loss alone, in float32."""
    compass = nets.compass
    if compass is None:
        return {}
    return {"direction": Term(o.direction_weight, lambda a, b: direction_loss(a, b, compass))}


DIRECTED = Rule(direction_terms, frozen=FROZEN, adversarial=False, noise="random")
"""No adversary, and fresh noise in both generators, as published; no layers are chosen anew while it trains."""
