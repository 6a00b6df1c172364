"""An unconditional model of the `diffusers` library as a model of photographs. Imported only where one is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel, VQModel  # type: ignore[import-not-found]
from torch import Tensor

from refacer.errors import InputRefused

READ: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}


class DiffusersModel:
    """See `NoisePredictor` in refacer/stages/sdedit.py.

    Latents are taken as they are: VQ-regularised ones have a scale of 1, whatever an old configuration's default says.
    """

    def __init__(self, unet: Any, scheduler: Any, codec: Any) -> None:
        self._unet, self._codec = unet, codec
        self.signal: Tensor = scheduler.alphas_cumprod.double()
        self.highest, self.bounded = len(self.signal), codec is None
        side, channels = unet.config.sample_size, unet.config.in_channels
        if scheduler.config.prediction_type != "epsilon":
            raise InputRefused("a model that predicts something else than noise")
        if type(side) is not int or (codec is None and channels != 3):
            raise InputRefused("a model of latents without its VQModel, or of no fixed size")
        self.side_px: int = side * (2 ** (len(codec.config.block_out_channels) - 1) if codec else 1)

    def encode(self, faces: Tensor) -> Tensor:
        """Latents before quantisation, or the pictures themselves."""
        return self._codec.encode(faces).latents if self._codec else faces

    def decode(self, x: Tensor) -> Tensor:
        """Pictures of quantised latents."""
        return self._codec.decode(x).sample if self._codec else x

    def noise(self, x: Tensor, level: int) -> Tensor:
        """The library counts levels from 0."""
        return self._unet(x, level - 1).sample


def open_diffusers(unet: Path, scheduler: Path, codec: Path | None, device: torch.device) -> DiffusersModel:
    """A model from its parts' folders; raises InputRefused where weights are missing, and what the library raises."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)  # what it warns of is refused here, or means nothing
    networks = [_network(UNet2DModel, unet, device), codec and _network(VQModel, codec, device)]
    return DiffusersModel(networks[0], DDPMScheduler.from_pretrained(scheduler, local_files_only=True), networks[1])


def _network(kind: Any, folder: Path, device: torch.device) -> Any:
    """A part; the library would draw at random what a file lacks."""
    network, told = kind.from_pretrained(folder, output_loading_info=True, **READ)
    if missing := sorted(told["missing_keys"]):
        raise InputRefused(f"{folder}: lacks {len(missing)} of its weights, among them {missing[0]}; get it again")
    return network.eval().requires_grad_(False).to(device)
