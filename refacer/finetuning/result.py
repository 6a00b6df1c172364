"""What a run ends in: the averaged generator as a pair, or as a base."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from refacer.networks.stylegan2.networks import Generator
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import ProjectOptions, WStatistics
from refacer.training.trainer import Trainer
from refacer.weights.bases import Base, encode_base, fresh_discriminator
from refacer.weights.pair_json import EFFICIENTNET
from refacer.weights.pairs import encode_files
from refacer.weights.registry import UNSTATED


def encode_result(name: str, base: Base | None, trainer: Trainer) -> dict[str, bytes]:
    """Its files by name; without a base, or from scratch, a base of its own."""
    nets = trainer.nets
    generator, discriminator = copy.deepcopy(nets.generator_ema).cpu(), copy.deepcopy(nets.discriminator).cpu()
    licence, commercial = (base.licence, base.commercial) if base else (UNSTATED, "unclear")
    facts = {"licence": licence, "commercial": commercial, "kimg": trainer.images_seen / 1000}
    if base is None or trainer.options.from_scratch:
        return encode_base(generator, discriminator, facts)
    base.generator.cpu()
    return encode_pair(name, base, generator, facts)


def encode_pair(name: str, base: Base, rendering: Generator, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a fine-tuned pair: what an installed pair holds is named by sha256, all else is inside.

    The base's discriminator travels along: further styles start from it.
    """
    c, pair = rendering.config, base.pair
    about: dict[str, Any] = {
        "name": name,
        "resolution": c.img_resolution,
        "num_ws": c.num_ws,
        "w_dim": c.w_dim,
        **facts,
    }
    networks: dict[str, nn.Module] = {"rendering": rendering}
    if pair is None:
        _, w_std = w_statistics(base.generator, WStatistics())
        networks |= {"real": base.generator, "discriminator": base.discriminator or fresh_discriminator(rendering)}
        defaults = {"steps": ProjectOptions.steps, "lr": ProjectOptions.lr}
        return encode_files(
            networks, {**about, "w_std": w_std, "defaults": defaults, "perceptual": {"network": EFFICIENTNET}}, {}
        )
    about |= {key: pair.facts[key] for key in ("w_std", "defaults", "perceptual")}
    shared = [role for role in ("real", "discriminator", "parser") if pair.has(role)]
    if pair.installed:
        return encode_files(networks, about, {role: pair.sha256(role) for role in shared})
    return encode_files(networks | {role: pair.network(role) for role in shared}, about, {})
