"""Networks from and to safetensors files; the metadata says what a file holds and how to build it.

Nothing is executed from a file. Every shape is checked against the network's own, every value must be finite.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from refacer.errors import InputRefused, RefacerError, WeightsMissing
from refacer.files.json_text import parse_json
from refacer.networks.encoders import EncoderConfig, FaceEncoder
from refacer.networks.hyperstyle import HyperConfig, HyperStyle
from refacer.networks.parser import StudioParser
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.options import GeneratorRole, PairEncoderName, TrunkName
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.states import config_from, require, shapes_of

KIND = "refacer"
MOST_INPUT_PX, MOST_CHANNELS = 1024, 2048  # of a translator or an encoder
MOST_UNITS, MOST_CODES, MOST_PASSES = 64, 64, 16  # of an encoder


def encode_network(module: nn.Module, kind: str, config: dict[str, Any], *, half: bool = True) -> bytes:
    """A network as safetensors bytes; floating-point tensors become float16 with `half`."""
    state = {name: _stored(tensor, half) for name, tensor in module.state_dict().items()}
    return save(state, metadata={KIND: json.dumps({"kind": kind, "config": config}, sort_keys=True)})


def load_generator(path: Path) -> Generator:
    """A generator in float32, eval mode, without gradients."""
    return build_network(path, "generator", lambda config: Generator(config_from(GeneratorConfig, config)))


def load_discriminator(path: Path) -> Discriminator:
    """A discriminator in float32, eval mode, without gradients."""
    return build_network(path, "discriminator", lambda config: Discriminator(config_from(DiscriminatorConfig, config)))


def load_studio_parser(path: Path) -> StudioParser:
    """The small parser of the studio pair."""
    return build_network(path, "parser", lambda config: StudioParser(**config))


def load_translator(path: Path) -> Translator:
    """The distilled network of a pair."""
    return build_network(path, "translator", lambda config: Translator(_translator_config(config)))


def load_encoder(path: Path) -> FaceEncoder:
    """The encoder of a pair; one without a trunk of its own has yet to be given what it looks through."""
    return build_network(path, "encoder", lambda config: FaceEncoder(encoder_config(config)))


def load_hyperstyle_of_pair(path: Path) -> HyperStyle:
    """HyperStyle's networks of a pair; without a trunk of their own they have yet to be given one."""
    return build_network(path, "hyperstyle-pair", lambda config: HyperStyle(_hyper_config_of_pair(config)))


def read_network(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State (float32, finite) and configuration of a file that says it holds a `kind`; InputRefused otherwise."""
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputRefused(f"{path}: not a readable safetensors file") from error
    found, config = _about(metadata)
    if found != kind:
        raise InputRefused(f"{path}: holds {shown(found)}, not a {kind}")
    wrong = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if wrong:
        raise InputRefused(f"{path}: {shown(wrong[0])} holds values that are not finite")
    return {name: tensor.float() for name, tensor in state.items()}, config


def _about(metadata: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """Kind and configuration; one key, because safetensors does not keep the order of several."""
    try:
        about = parse_json(metadata[KIND])
        return about["kind"], dict(about["config"])
    except (KeyError, ValueError, TypeError):
        return "no refacer network", {}


def _stored(tensor: Tensor, half: bool) -> Tensor:
    wanted = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", wanted).contiguous()


M = TypeVar("M", bound=nn.Module)


def build_network(path: Path, kind: str, build: Callable[[dict[str, Any]], M]) -> M:
    """A network from its file: float32, eval mode, without gradients.

    Its tensors are compared with its configuration before memory is taken for what that says.
    """
    state, config = read_network(path, kind)
    try:
        require(state, shapes_of(lambda: build(config)))
        module = build(config)
        module.load_state_dict(state)
    except (RefacerError, RuntimeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, RefacerError) else type(error).__name__
        raise InputRefused(f"{path}: its tensors do not fit its own configuration ({reason})") from error
    return module.eval().requires_grad_(False)


def _translator_config(config: dict[str, Any]) -> TranslatorConfig:
    """The sizes that a file states, none of them larger than a file of a pair may ask for."""
    channels = config["channels"]
    sizes = [config["input_px"], *channels]
    limits = [value for name, value in config.items() if name.endswith("_limit")]
    if any(type(size) is not int or not 0 < size <= MOST_CHANNELS for size in sizes) or sizes[0] > MOST_INPUT_PX:
        raise InputRefused("its sizes are no whole numbers in range")
    if len(channels) != 4 or any(type(limit) not in (int, float) or not 0 <= limit <= 16 for limit in limits):
        raise InputRefused("its limits are none")
    return TranslatorConfig(**{**config, "channels": tuple(channels)})


def encoder_config(config: dict[str, Any]) -> EncoderConfig:
    """The sizes that a file states, none of them larger than a file of a pair may ask for."""
    units, widths = config["units"], config["widths"]
    limits = [(config["input_px"], MOST_INPUT_PX), (config["passes"], MOST_PASSES)]
    limits += [(size, MOST_CHANNELS) for size in (*widths, config["head_width"], config["w_dim"])]
    limits += [(count, MOST_UNITS) for count in units]
    limits += [(config[name], MOST_CODES) for name in ("num_ws", "coarse", "fine")]
    if any(type(size) is not int or not 0 < size <= most for size, most in limits):
        raise InputRefused("its sizes are no whole numbers in range")
    if len(units) != 4 or len(widths) != 4:
        raise InputRefused("an encoder has four stages")
    if config["kind"] not in get_args(PairEncoderName) or config["into"] not in get_args(GeneratorRole):
        raise InputRefused("its kind is none that is known")
    if config.get("trunk", "own") not in get_args(TrunkName):
        raise InputRefused("its trunk is none that is known")
    return EncoderConfig(**{**config, "units": tuple(units), "widths": tuple(widths)})


def _hyper_config_of_pair(config: dict[str, Any]) -> HyperConfig:
    """The sizes that a file states, none of them larger than a file of a pair may ask for."""
    limits = [(config["input_px"], MOST_INPUT_PX), (config["passes"], MOST_PASSES), (config["num_ws"], MOST_CODES)]
    limits += [(config[name], MOST_CHANNELS) for name in ("w_dim", "shared", "code", "inner", "inner_shared")]
    limits += [(size, MOST_CHANNELS) for name in ("encoder_widths", "widths") for size in config[name]]
    limits += [(count, MOST_UNITS) for name in ("encoder_units", "units") for count in config[name]]
    limits += [(size, MOST_CHANNELS) for shape in config["layers"].values() for size in shape]
    if len(limits) > 3 * MOST_CODES * 4 or any(type(size) is not int or not 0 < size <= most for size, most in limits):
        raise InputRefused("its sizes are no whole numbers in range")
    if config["into"] not in get_args(GeneratorRole) or config.get("trunk", "own") not in get_args(TrunkName):
        raise InputRefused("its generator or its trunk is none that is known")
    return hyper_config(config, config)


def hyper_config(hyper: dict[str, Any], encoder: dict[str, Any]) -> HyperConfig:
    """HyperStyle's sizes from what `convert` has found in its two files; InputRefused where they do not fit."""
    if hyper["w_dim"] != encoder["w_dim"]:
        raise InputRefused(f"codes of {encoder['w_dim']} numbers and a generator of {hyper['w_dim']}: no pair")
    layers = {int(index): (int(shape[0]), int(shape[1])) for index, shape in hyper["layers"].items()}
    merged: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in {**hyper, **encoder}.items()
    }
    return HyperConfig(**{**merged, "layers": layers})
