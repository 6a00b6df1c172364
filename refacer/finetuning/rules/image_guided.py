"""A direction from example pictures, as StyleGAN-NADA's code has it too, by another network than CLIP.

The direction leads from the mean of a few of the source's pictures to the mean of the examples, in the pooled features
of EfficientNet-Lite0. It is not StyleGAN-NADA, and is called so nowhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.errors import UsageError
from refacer.finetuning.rules.rule import Beginning, TextFiles
from refacer.images.pixels import scale_to_unit
from refacer.networks.efficientnet import LEAST_PX, EfficientNetFeatures
from refacer.networks.perceptual import fitted
from refacer.options import FinetuneOptions
from refacer.training.dataset import FaceDataset
from refacer.training.directions import DIRECTED
from refacer.training.generate import SAMPLE_SEED
from refacer.weights.choices import choose
from refacer.weights.pair_json import EFFICIENTNET
from refacer.weights.terms import Use

MOST_EXAMPLES, BATCH = 512, 16


class PooledCompass:
    """EfficientNet-Lite0's taps, each averaged over the picture, as a compass."""

    def __init__(self, network: EfficientNetFeatures) -> None:
        self._network = network
        self.direction = torch.zeros(0)

    def embed(self, images: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1] to (N, 192)."""
        taps = self._network.taps(fitted(images, LEAST_PX, self._network.input_px))
        return torch.cat([tap.mean((2, 3)) for tap in taps], 1).float()


class ImageGuidedRule:
    """See `RunRule`."""

    rule, label, pictures = DIRECTED, "image-guided (EfficientNet-Lite0)", True

    def __init__(self, options: FinetuneOptions, _files: TextFiles) -> None:
        self._sources = options.source_count
        self._choice = choose("perceptual", EFFICIENTNET)

    @torch.no_grad()
    def networks(self, beginning: Beginning) -> dict[str, Any]:
        """The compass, with the direction from the source's pictures to the examples."""
        if beginning.data is None:
            raise UsageError(f"{self.label}: needs example pictures")
        compass = PooledCompass(self._choice.load(beginning.device))
        real, random = beginning.real, torch.Generator().manual_seed(SAMPLE_SEED)
        ws = real.mapping(torch.randn(self._sources, real.z_dim, generator=random).to(beginning.device))
        source = [real.synthesis(part, noise_mode="const") for part in ws.split(BATCH)]
        examples = [scale_to_unit(part.to(beginning.device)) for part in _examples(beginning.data)]
        compass.direction = _mean(compass, examples) - _mean(compass, source)
        return {"compass": compass}

    def configuration(self) -> dict[str, Any]:
        """What embeds."""
        return {"compass": self._choice.description}

    def notes(self) -> list[str]:
        """What the rule is, and what it is not."""
        return [f"{self.label}: in the direction of the example pictures, without a text"]

    def uses(self) -> list[Use]:
        """Of what embeds."""
        return [replace(use, role="direction loss") for use in self._choice.uses]


def _examples(data: FaceDataset) -> list[Tensor]:
    """The first examples in the run's order, a batch each."""
    count = min(len(data), MOST_EXAMPLES)
    return [data.batch(start, min(BATCH, count - start)) for start in range(0, count, BATCH)]


def _mean(compass: PooledCompass, batches: list[Tensor]) -> Tensor:
    return torch.cat([F.normalize(compass.embed(batch)) for batch in batches]).mean(0)
