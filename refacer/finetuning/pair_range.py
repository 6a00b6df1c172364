"""How far projections of a pair's own renders stay from them: by this `run` tells which faces a pair does not know."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from refacer.images.pixels import scale_to_unit
from refacer.networks.encoders import FaceEncoder
from refacer.networks.stylegan2.networks import Generator
from refacer.options import PROJECT_BATCH
from refacer.stages.inversion import invert_each
from refacer.stages.project import Known, Optimiser
from refacer.training.dataset import FaceDataset
from refacer.types import Progress
from refacer.weights.choices import OWN, choose
from refacer.weights.pair_json import PERCENTILES
from refacer.weights.pairs import Pair

GPU_BATCH = 16
"""Faces projected at once where there is a GPU; each is an optimisation of its own all the same."""


def faces_of(data: FaceDataset, count: int, device: torch.device) -> list[Tensor]:
    """The first `count` pictures of a set, no more than it has: (1, 3, R, R) in [-1, 1] each."""
    pictures = (data.batch(position, 1) for position in range(min(count, len(data))))
    return [scale_to_unit(picture.to(device)) for picture in pictures]


def measured_range(
    pair: Pair,
    rendering: Generator,
    faces: Sequence[Tensor],
    encoder: FaceEncoder | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """What `range` in pair.json says: percentiles 0 to 100 of the distance of Eq. 4, each at least the one before.

    Measured with the pair's own distance and options, as `run` projects by default where LPIPS is not
    installed. pair: read for its facts, and for its discriminator where that is its distance. rendering: its generator,
    on the device of the faces, (1, 3, S, S) in [-1, 1] each; encoder: of its codes, where the pair has one.
    Raises WeightsMissing, ShapeMismatch.
    """
    device = faces[0].device
    perceptual = choose("perceptual", OWN, pair).load(device)
    options = pair.defaults.projection(encoded=encoder is not None)
    found = invert_each(
        faces,
        rendering,
        Optimiser(perceptual, pair.w_std, options, encoder, Known.of(rendering, options)),
        batch=GPU_BATCH if device.type == "cuda" else PROJECT_BATCH,
        progress=progress,
    )
    distances = torch.cat([one.distance for one in found]).double().cpu()
    levels = torch.quantile(distances, torch.linspace(0, 1, PERCENTILES, dtype=torch.float64))
    return {"distance": levels.cummax(0).values.tolist()}
