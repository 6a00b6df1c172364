"""Networks that take noise off photographs: a folder with denoiser.json and denoiser.safetensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from refacer.networks.diffusion import Denoiser
from refacer.weights.loaders import encode_network

DENOISER_FILE, WEIGHTS_FILE, KIND = "denoiser.json", "denoiser.safetensors", "denoiser"
FORMAT = 1


def encode_denoiser(network: Denoiser, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a denoiser by name; facts: licence, commercial use, and what else is to be known."""
    weights = encode_network(network, KIND, network.config.to_dict())
    body = {"format": FORMAT, **facts, "config": network.config.to_dict()}
    body["sha256"] = hashlib.sha256(weights).hexdigest()
    return {WEIGHTS_FILE: weights, DENOISER_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}
