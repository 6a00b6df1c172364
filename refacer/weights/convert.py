"""Public weight files to safetensors. A file is recognised by its content; nothing in it is executed.

NVIDIA's pickles and rosinality's checkpoints become our generator and discriminator; other networks keep their
published key names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from refacer.errors import InputRefused
from refacer.networks.stylegan2 import Generator


@dataclass(frozen=True)
class Converted:
    """What a public file holds.

    kind: 'stylegan2', 'bisenet', 'parsenet', 'retinaface', 'ir_se50', 'curricularface', 'vgg16', 'alexnet',
        'inception', 'sketch', 'e4e', 'psp', 'restyle', 'hyperstyle', 'encoder'.
    files: safetensors bytes by file name. generator.safetensors and discriminator.safetensors are read by
        `refacer.weights.loaders`; network.safetensors holds any other state under its published names, with `kind` in
        its metadata (`loaders.read_network(path, kind)`).
    notes: what was dropped, derived or found beside the weights; one line each.
    """

    kind: str
    files: dict[str, bytes]
    notes: tuple[str, ...]


def convert(path: Path, kind: str | None = None) -> Converted:
    """Read a public weight file; `kind` says what it must hold. Raises InputRefused, WeightsMissing (no file)."""
    raise InputRefused(f"{path}: not a weight file that refacer reads")


def load_generator_file(path: Path) -> Generator:
    """A generator of ours, NVIDIA's or rosinality's: float32, eval, without gradients. Raises as `convert`."""
    raise InputRefused(f"{path}: not a generator file that refacer reads")
