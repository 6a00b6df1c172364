"""Bases: what `finetune` starts from. A pair's realistic generator, or the end of a from-scratch run (`base.json`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from refacer.errors import InputRefused
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import NetworkOptions, ProjectOptions, WStatistics
from refacer.weights import registry
from refacer.weights.convert import DISCRIMINATOR_FILE, GENERATOR_FILE
from refacer.weights.growing import grow_discriminator, grow_generator
from refacer.weights.loaders import encode_network, load_discriminator, load_generator, sha256_of
from refacer.weights.pairs import EFFICIENTNET, PAIR_FILE, PAIR_FORMAT, Pair, describe, load_pair

BASE_FILE = "base.json"
BASE_FORMAT = 1


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
    networks: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
    files = {f"{role}.safetensors": encode_network(net, *describe(role, net)) for role, net in networks.items()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    body = {"format": BASE_FORMAT, **facts, "sha256": hashes}
    return {**files, BASE_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}


def encode_base_pair(name: str, generator_path: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """pair.json, by name, of an installed generator: a pair but for its rendering generator, so a base too.

    files: content by name, the discriminator's too where there is one. Licence and commercial use are the registry's,
    steps and rate the paper's.
    """
    generator = load_generator(generator_path)
    _, w_std = w_statistics(generator, WStatistics())
    config = generator.config
    entry = registry.find(name)
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
    return {PAIR_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}


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


def _from_run(folder: Path) -> Base:
    try:
        facts = json.loads((folder / BASE_FILE).read_text())
        licence, commercial = facts["licence"], facts["commercial"]
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise InputRefused(f"{folder / BASE_FILE}: not a base description") from error
    path = folder / "generator.safetensors"
    discriminator = load_discriminator(folder / "discriminator.safetensors")
    return Base(load_generator(path), discriminator, sha256_of(path), licence, commercial, None)
