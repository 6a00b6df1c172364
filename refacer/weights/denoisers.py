"""Models that take noise off photographs: a folder of this project's own, or one of `diffusers`. Only safetensors.

Own: denoiser.json and denoiser.safetensors, as tools/studio/train_diffusion.py writes them. diffusers: an unconditional
UNet2DModel and its scheduler, of pixels or, with a VQModel, of latents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from refacer.device import is_out_of_memory
from refacer.errors import InputRefused, RefacerError, WeightsMissing
from refacer.files.json_text import parse_json
from refacer.networks.diffusion import Denoiser, DiffusionConfig
from refacer.weights import registry
from refacer.weights.loaders import build_network, encode_network
from refacer.weights.registry import sha256_of
from refacer.weights.terms import Use

DENOISER_FILE, WEIGHTS_FILE, KIND = "denoiser.json", "denoiser.safetensors", "denoiser"
FORMAT = 1
ROLE = "denoiser"
MOST_PX, MOST_WIDTH, MOST_HALVINGS, MOST_LEVELS = 1024, 1024, 6, 10_000

PIPELINE, UNET, SCHEDULER, CODEC = "model_index.json", "unet", "scheduler", ("vqvae", "vae")
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"
EXTRA = "pip install 'refacer[diffusion]'"


@dataclass(frozen=True)
class OpenModel:
    """A model at hand, and its terms. network: a `NoisePredictor` of refacer/stages/sdedit.py."""

    network: Any
    use: Use


def encode_denoiser(network: Denoiser, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a denoiser by name; facts: licence, commercial use, and what else is to be known."""
    weights = encode_network(network, KIND, network.config.to_dict())
    body = {"format": FORMAT, **facts, "config": network.config.to_dict()}
    body["sha256"] = hashlib.sha256(weights).hexdigest()
    return {WEIGHTS_FILE: weights, DENOISER_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}


def open_model(folder: Path, device: torch.device) -> OpenModel:
    """The model of a folder, in float32 and without gradients.

    Raises WeightsMissing where there is none, or diffusers is not installed, InputRefused where it is damaged, of
    another kind, or of pickles alone.
    """
    if (folder / DENOISER_FILE).is_file():
        return _own(folder, device)
    if (folder / PIPELINE).is_file() or (folder / UNET).is_dir():
        return _of_diffusers(folder, device)
    raise WeightsMissing(
        f"{folder}: holds no model that takes noise off photographs; train one with "
        "`python -m tools.studio.train_diffusion`, or name a diffusers folder"
    )


def _own(folder: Path, device: torch.device) -> OpenModel:
    path = folder / WEIGHTS_FILE
    try:
        facts = parse_json((folder / DENOISER_FILE).read_bytes())
        format_, licence, commercial, known = (facts[name] for name in ("format", "licence", "commercial", "sha256"))
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise InputRefused(f"{folder / DENOISER_FILE}: not a denoiser's description") from error
    if format_ != FORMAT or not all(type(one) is str for one in (licence, commercial, known)):
        raise InputRefused(f"{folder / DENOISER_FILE}: not a description of format {FORMAT}")
    network = build_network(path, KIND, lambda config: Denoiser(_config(config)))
    if (sha256 := sha256_of(path)) != known:
        raise InputRefused(f"{path}: not the file that {DENOISER_FILE} describes (sha256 differs)")
    return OpenModel(network.to(device), Use(ROLE, folder.name, sha256, licence, commercial))


def _config(config: Mapping[str, Any]) -> DiffusionConfig:
    """The sizes that a file states, none of them larger than a file may ask for."""
    widths = config["widths"]
    limits = [(config["resolution"], MOST_PX), (len(widths), MOST_HALVINGS), *((w, MOST_WIDTH) for w in widths)]
    limits += [(config["attention_px"], MOST_PX), *((config[n], MOST_LEVELS) for n in ("levels", "trained_levels"))]
    if any(type(size) is not int or not 0 < size <= most for size, most in limits):
        raise InputRefused("its sizes are no whole numbers in range")
    betas = config["beta_first"], config["beta_last"]
    if any(type(beta) is not float or not 0 < beta < 1 for beta in betas):
        raise InputRefused("its noise levels are none")
    return DiffusionConfig(**{**config, "widths": tuple(widths)})


def _of_diffusers(folder: Path, device: torch.device) -> OpenModel:
    """A folder of the library's own layout. Its scheduler gives the noise levels; DDIM's steps are ours."""
    codec = next((folder / name for name in CODEC if (folder / name).is_dir()), None)
    parts = [folder / UNET, *([codec] if codec else [])]
    for part in parts:
        if not (part / DIFFUSERS_WEIGHTS).is_file():
            raise InputRefused(f"{part}: holds no {DIFFUSERS_WEIGHTS}; pickles are not read")
    if find_spec("diffusers") is None:
        raise WeightsMissing(f"{folder}: is read by diffusers, which is not installed; run `{EXTRA}`")
    from refacer.weights.diffusers_models import open_diffusers

    digests = "".join(sha256_of(part / DIFFUSERS_WEIGHTS) for part in parts)
    sha256 = digests if len(parts) == 1 else hashlib.sha256(digests.encode()).hexdigest()
    try:
        network = open_diffusers(folder / UNET, folder / SCHEDULER, codec, device)
    except RefacerError:
        raise
    except Exception as error:  # the library answers damage with errors of many kinds
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputRefused(f"{folder}: not read by diffusers ({reason})") from error
    return OpenModel(network, Use(ROLE, folder.name, sha256, registry.UNSTATED, "unclear"))
