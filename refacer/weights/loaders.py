"""Networks from and to safetensors files; the metadata says what a file holds and how to build it.

Nothing is executed from a file. Every shape is checked against the network's own, every value must be finite.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from refacer.errors import InputRefused, WeightsMissing
from refacer.networks.parser import StudioParser
from refacer.networks.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.weights.hashes import sha256_of as sha256_of

KIND = "refacer"


def encode_network(module: nn.Module, kind: str, config: dict[str, Any], *, half: bool = True) -> bytes:
    """A network as safetensors bytes; floating-point tensors become float16 with `half`."""
    state = {name: _stored(tensor, half) for name, tensor in module.state_dict().items()}
    return save(state, metadata={KIND: json.dumps({"kind": kind, "config": config}, sort_keys=True)})


def load_generator(path: Path) -> Generator:
    """A generator in float32, eval mode, without gradients."""
    state, config = read_network(path, "generator")
    return _filled(Generator(GeneratorConfig.from_dict(config)), state, path)


def load_discriminator(path: Path) -> Discriminator:
    """A discriminator in float32, eval mode, without gradients."""
    state, config = read_network(path, "discriminator")
    return _filled(Discriminator(DiscriminatorConfig.from_dict(config)), state, path)


def load_studio_parser(path: Path) -> StudioParser:
    """The small parser of the studio pair."""
    state, config = read_network(path, "parser")
    return _filled(StudioParser(**config), state, path)


def read_network(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State (float32) and configuration of a file that says it holds a `kind`; InputRefused otherwise."""
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputRefused(f"{path}: not a readable safetensors file") from error
    about = _about(metadata)
    if about.get("kind") != kind:
        raise InputRefused(f"{path}: holds {about.get('kind', 'no refacer network')}, not a {kind}")
    return {name: tensor.float() for name, tensor in state.items()}, about["config"]


def _about(metadata: dict[str, str]) -> dict[str, Any]:
    """Kind and configuration; one key, because safetensors does not keep the order of several."""
    try:
        return dict(json.loads(metadata[KIND]))
    except (KeyError, ValueError, TypeError):
        return {}


def _stored(tensor: Tensor, half: bool) -> Tensor:
    wanted = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", wanted).contiguous()


M = TypeVar("M", bound=nn.Module)


def _filled(module: M, state: dict[str, Tensor], path: Path) -> M:
    """Load a state strictly; raises InputRefused on foreign keys, shapes or values."""
    wrong = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if wrong:
        raise InputRefused(f"{path}: {wrong[0]} holds values that are not finite")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputRefused(f"{path}: its tensors do not fit its own configuration") from error
    return module.eval().requires_grad_(False)
