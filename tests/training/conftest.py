from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.training.trainer import Trainer
from tests.training.tiny import tiny_trainer


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
        return tiny_trainer(pictures, {"batch": 4, "kimg": 0.02, "tick_kimg": 0.008, **options})

    return make
