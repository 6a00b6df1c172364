"""Bases: what `finetune` starts from. A pair's realistic generator, or the end of a from-scratch run (`base.json`).

Networks of twice the resolution start where the smaller ones ended (after Net2Net, Chen et al. 2016): what has the same
name and shape is carried over, what is new begins without effect.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refacer.errors import InputRefused
from refacer.files.json_text import parse_json
from refacer.networks.stylegan2.layers import LRELU_GAIN, Conv
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.stylegan2.ops import LRELU_SLOPE
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import NetworkOptions, ProjectOptions, WStatistics
from refacer.weights import registry
from refacer.weights.convert import DISCRIMINATOR_FILE, GENERATOR_FILE
from refacer.weights.loaders import encode_network, load_discriminator, load_generator
from refacer.weights.pair_json import EFFICIENTNET, PAIR_FILE, PAIR_FORMAT, encode_facts
from refacer.weights.pairs import Pair, load_pair
from refacer.weights.registry import sha256_of

BASE_FILE = "base.json"
BASE_FORMAT = 1

SIGNED_RGB = 6  # channels that carry red, green and blue and their negatives


@dataclass(frozen=True)
class Base:
    """A generator to start from, the discriminator that goes with it, and where they come from.

    pair: the pair it was taken from, None for a from-scratch run.
    """

    generator: Generator
    discriminator: Discriminator | None
    sha256: str
    licence: str
    commercial: str
    pair: Pair | None


def load_base(name: str | None) -> Base:
    """Open a from-scratch run's folder or a pair; None means the default pair."""
    folder = Path(name) if name else None
    if folder is not None and (folder / BASE_FILE).is_file():
        return _from_run(folder)
    pair = load_pair(name)
    path = pair.path("real")
    discriminator = pair.discriminator(torch.device("cpu")) if pair.has("discriminator") else None
    return Base(load_generator(path), discriminator, pair.sha256("real"), pair.licence, pair.commercial, pair)


def encode_base(generator: Generator, discriminator: Discriminator, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a base by name."""
    files = {
        GENERATOR_FILE: encode_network(generator, "generator", generator.config.to_dict()),
        DISCRIMINATOR_FILE: encode_network(discriminator, "discriminator", discriminator.config.to_dict()),
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    body = {"format": BASE_FORMAT, **facts, "sha256": hashes}
    return {**files, BASE_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}


def encode_base_pair(name: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """pair.json of an installed generator, a pair but for its rendering generator.

    files: the converted networks. Licence and commercial use are the registry's, steps and rate the paper's.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GENERATOR_FILE
        path.write_bytes(files[GENERATOR_FILE])
        generator = load_generator(path)
    _, w_std = w_statistics(generator, WStatistics())
    config, entry = generator.config, registry.find(name)
    roles = {"real": GENERATOR_FILE, "discriminator": DISCRIMINATOR_FILE}
    body: dict[str, Any] = {
        "format": PAIR_FORMAT,
        "name": name,
        "resolution": config.img_resolution,
        "num_ws": config.num_ws,
        "w_dim": config.w_dim,
        "w_std": w_std,
        "licence": entry.licence.title if entry else registry.UNSTATED,
        "commercial": entry.commercial if entry else "unclear",
        "perceptual": {"network": EFFICIENTNET},
        "defaults": {"steps": ProjectOptions.steps, "lr": ProjectOptions.lr},
        "networks": {
            role: {"file": file, "sha256": hashlib.sha256(files[file]).hexdigest()}
            for role, file in roles.items()
            if file in files
        },
    }
    return {PAIR_FILE: encode_facts(body)}


def fresh_networks(options: NetworkOptions) -> tuple[Generator, Discriminator]:
    """Both networks with random weights."""
    shared = {
        "img_resolution": options.resolution,
        "channel_base": options.channel_base,
        "channel_max": options.channel_max,
    }
    generator = GeneratorConfig(
        z_dim=options.z_dim, w_dim=options.w_dim, mapping_layers=options.mapping_layers, **shared
    )
    return Generator(generator), Discriminator(DiscriminatorConfig(**shared))


def fresh_discriminator(generator: Generator) -> Discriminator:
    """A random discriminator of the generator's size."""
    c = generator.config
    return Discriminator(
        DiscriminatorConfig(img_resolution=c.img_resolution, channel_base=c.channel_base, channel_max=c.channel_max)
    )


@torch.no_grad()
def grow(base: Base, options: NetworkOptions) -> tuple[Generator, Discriminator]:
    """Larger networks that start where a base ended."""
    generator, discriminator = fresh_networks(options)
    grow_generator(base.generator.state_dict(), generator)
    if base.discriminator is not None:
        grow_discriminator(base.discriminator.state_dict(), discriminator)
    return generator, discriminator


def carry_over(old: Mapping[str, Tensor], target: nn.Module) -> list[str]:
    """Copy what the target has under the same name and shape; returns the names that stay random."""
    new = target.state_dict()
    fits = {name for name, tensor in new.items() if name in old and old[name].shape == tensor.shape}
    target.load_state_dict({name: old[name] if name in fits else tensor for name, tensor in new.items()})
    return sorted(new.keys() - fits)


@torch.no_grad()
def grow_generator(old: Mapping[str, Tensor], target: Generator) -> None:
    """Carry a state over; new ToRGB layers start at 0, so that the picture starts as the old one enlarged."""
    fresh = carry_over(old, target)
    for name, parameter in target.named_parameters():
        if name in fresh and name.endswith("torgb.weight"):
            parameter.zero_()


@torch.no_grad()
def grow_discriminator(old: Mapping[str, Tensor], target: Discriminator) -> None:
    """Carry a state over; a new first block starts as 'halve the picture', so that the verdict starts as the old one.

    A first block left random feeds noise to trained ones: the verdict is lost, and R1 keeps it from coming back.
    """
    side = target.img_resolution
    carry_over(old, target)
    weight, bias = (old.get(f"b{side // 2}.fromrgb.{name}") for name in ("weight", "bias"))
    block = target.get_submodule(f"b{side}")
    if weight is not None and bias is not None and target.config.channels(side) >= SIGNED_RGB:
        _pass_through(block, weight, bias)


def _from_run(folder: Path) -> Base:
    try:
        facts = parse_json((folder / BASE_FILE).read_bytes())
        licence, commercial = facts["licence"], facts["commercial"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputRefused(f"{folder / BASE_FILE}: not a base description") from error
    path = folder / GENERATOR_FILE
    discriminator = load_discriminator(folder / DISCRIMINATOR_FILE)
    return Base(load_generator(path), discriminator, sha256_of(path), licence, commercial, None)


def _pass_through(block: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Make a block the old FromRGB layer of the halved picture: weight (O, 3, 1, 1), bias (O,).

    The leaky ReLU of slope s bends what passes it, but f(x) - f(-x) = (1 + s) x stays straight, twice over (1 + s²) x.
    """
    fromrgb, conv0, conv1, skip = (block.get_submodule(name) for name in ("fromrgb", "conv0", "conv1", "skip"))
    assert isinstance(fromrgb, Conv)
    assert isinstance(conv0, Conv)
    assert isinstance(conv1, Conv)
    signs = torch.cat([torch.eye(3), -torch.eye(3)]).to(weight)
    fromrgb.weight[:SIGNED_RGB] = (signs * _gain(fromrgb))[..., None, None]
    fromrgb.bias[:SIGNED_RGB] = 0
    conv0.weight[:SIGNED_RGB] = 0
    conv0.weight[:SIGNED_RGB, :SIGNED_RGB, 1, 1] = torch.eye(SIGNED_RGB).to(weight) * _gain(conv0)
    conv0.bias[:SIGNED_RGB] = 0
    straight = weight[..., 0, 0] * (LRELU_GAIN / math.sqrt(3)) / (1 + LRELU_SLOPE**2)  # (O, 3)
    conv1.weight.zero_()  # its activation's gain and the residual's sqrt(1/2) cancel
    conv1.weight[:, :SIGNED_RGB, 1, 1] = straight @ signs.t() * (_gain(conv1) * LRELU_GAIN)
    conv1.bias.copy_(bias * LRELU_GAIN)
    skip.get_parameter("weight").zero_()


def _gain(conv: Conv) -> float:
    """The stored weight that acts as 1."""
    return math.sqrt(conv.weight[0].numel()) / LRELU_GAIN
