"""A whole pair of random networks that draws 64 pixels and projects in two steps, made in a moment."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from refacer.networks.parser import StudioParser
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.weights.loaders import encode_network
from tests.tiny import tiny_discriminator, tiny_generator

SIZE: dict[str, Any] = {"img_resolution": 64, "channel_base": 512, "channel_max": 16}
PARSER = {"channels": (8, 12), "image_px": 32, "patch_px": 4}
TRANSLATOR = TranslatorConfig(input_px=32, channels=(4, 4, 8, 8))
SKIN = 1


def tiny_networks(w_dim: int = 16) -> dict[str, tuple[str, nn.Module, dict[str, object]]]:
    """Random networks by role: kind, module, configuration. The parser sees skin nearly everywhere."""
    real, rendering = (tiny_generator(seed=seed, **SIZE, z_dim=16, w_dim=w_dim) for seed in (0, 1))
    judge = tiny_discriminator(seed=2, **SIZE)
    parser = StudioParser(**PARSER)
    assert parser.head.bias is not None
    nn.init.constant_(parser.head.bias.view(-1, PARSER["patch_px"] ** 2)[SKIN], 0.5)
    return {
        "real": ("generator", real, real.config.to_dict()),
        "rendering": ("generator", rendering, rendering.config.to_dict()),
        "discriminator": ("discriminator", judge, judge.config.to_dict()),
        "parser": ("parser", parser, PARSER),
        "translator": ("translator", tiny_translator(), TRANSLATOR.to_dict()),
    }


def tiny_translator() -> Translator:
    """A distilled network that makes every face a little redder, and knows every face."""
    translator = Translator(TRANSLATOR)
    translator.get_parameter("color.bias").data[3] = 0.2
    return translator


def write_pair(folder: Path, w_dim: int = 16) -> None:
    """Put its files into a folder that is there."""
    entries = {}
    for role, (kind, module, config) in tiny_networks(w_dim).items():
        data = encode_network(module, kind, config)
        (folder / f"{role}.safetensors").write_bytes(data)
        entries[role] = {"file": f"{role}.safetensors", "sha256": hashlib.sha256(data).hexdigest()}
    facts = {
        "format": 1, "name": "tiny", "resolution": 64, "num_ws": 10, "w_dim": w_dim, "w_std": 1.0, "licence": "CC0-1.0",
        "commercial": "yes", "defaults": {"steps": 2, "lr": 0.05, "psi": 0.8}, "perceptual": {}, "networks": entries,
    }  # fmt: skip
    (folder / "pair.json").write_text(json.dumps(facts))
