"""A comparison of three methods, made by hand: small pictures that all differ."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

METHODS, FACES = ("ours", "other", "third"), 4


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """The folder: other.jpg beside PNGs with text inside, and the inputs."""
    rng = np.random.default_rng(0)
    for name in (*METHODS, "inputs"):
        folder = tmp_path / "compared" / name
        folder.mkdir(parents=True)
        for face in range(FACES):
            picture = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            told = PngImagePlugin.PngInfo()
            told.add_text("Software", name)
            if name == "other":
                picture.save(folder / f"face{face}.jpg", quality=95, comment=name)
            else:
                picture.save(folder / f"face{face}.png", pnginfo=told)
    return tmp_path / "compared"
