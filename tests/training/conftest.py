import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.networks.sketch import LineExtractor
from refacer.networks.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.options import FinetuneOptions
from refacer.training.dataset import FaceDataset
from refacer.training.loop import Trainer, make_networks

RESOLUTION = 32


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six smooth random pictures of 40 pixels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def make_trainer(pictures: Path):
    """Builds a trainer over tiny networks, the same at each call."""

    def make(**options: object) -> Trainer:
        torch.manual_seed(0)
        sizes = {"img_resolution": RESOLUTION, "channel_base": 256, "channel_max": 16}
        generator = Generator(GeneratorConfig(z_dim=16, w_dim=16, mapping_layers=2, **sizes))
        discriminator = Discriminator(DiscriminatorConfig(**sizes))
        frozen = {
            "real": copy.deepcopy(generator).eval().requires_grad_(False),
            "sketch": LineExtractor(),
            "perceptual": DiscriminatorFeatures(copy.deepcopy(discriminator).requires_grad_(False)),
        }
        cpu = torch.device("cpu")
        chosen = FinetuneOptions(**{"batch": 4, "kimg": 0.02, "tick_kimg": 0.008, **options})  # type: ignore[arg-type]
        return Trainer(
            make_networks(generator, discriminator, cpu, **frozen), FaceDataset([pictures], RESOLUTION), chosen, cpu
        )

    return make
