"""pair.json of an installed generator: what `finetune --base` starts from, a pair but for its rendering generator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import ProjectOptions, WStatistics
from refacer.weights import registry
from refacer.weights.convert import DISCRIMINATOR_FILE, GENERATOR_FILE
from refacer.weights.loaders import load_generator
from refacer.weights.pairs import EFFICIENTNET, PAIR_FILE, PAIR_FORMAT


def encode_base_pair(name: str, generator_path: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """pair.json by name; licence and commercial use are the registry's, steps and rate the paper's."""
    generator = load_generator(generator_path)
    _, w_std = w_statistics(generator, WStatistics())
    config = generator.config
    entry = registry.find(name)
    roles = {"real": GENERATOR_FILE, "discriminator": DISCRIMINATOR_FILE}
    body: dict[str, Any] = {
        "format": PAIR_FORMAT, "name": name, "resolution": config.img_resolution, "num_ws": config.num_ws,
        "w_dim": config.w_dim, "w_std": w_std, "licence": entry.licence.title if entry else registry.UNSTATED,
        "commercial": entry.commercial if entry else "unclear", "perceptual": {"network": EFFICIENTNET},
        "defaults": {"steps": ProjectOptions.steps, "lr": ProjectOptions.lr},
        "networks": {
            role: {"file": file, "sha256": hashlib.sha256(files[file]).hexdigest()}
            for role, file in roles.items() if file in files
        },
    }  # fmt: skip
    return {PAIR_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}
