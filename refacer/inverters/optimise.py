"""`--inverter optimise`: Eq. 4 of the paper, from the average code or another start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from refacer.equipment import ENCODER
from refacer.files.npy import array_sha256
from refacer.inverters.method import Method
from refacer.options import FollowOptions, ProjectOptions
from refacer.stages.project import Known, Optimiser, Start


class Optimise(Method):
    """PTI's schedule over the code and the noise (stages/project.py)."""

    @property
    def options(self) -> ProjectOptions:
        """Its numbers."""
        return self.equipment.project_options(self.into)

    def check(self) -> None:
        """Also a code to start from that does not fit."""
        self.equipment.require(self.into, perceptual=True)
        _ = self.options, self.equipment.init

    def inverter(self) -> Optimiser:
        """With the distance that was chosen, starting where that was chosen."""
        equipment = self.equipment
        return Optimiser(equipment.perceptual, equipment.w_std, self.options, self._start(), self._known)

    def follower(self, codes: Tensor, follow: FollowOptions) -> Optimiser:
        """The inverter of a face that had these codes, (1, num_ws, w_dim), one frame earlier."""
        options = self.options.from_neighbour(follow)
        if not options.steps:  # an encoder's codes as they are
            return self.inverter()
        return replace(self.inverter(), options=options, start=lambda _faces, _generator: codes)

    @cached_property
    def _known(self) -> Known:
        """Found once, not for every face."""
        return Known.of(self.equipment.generator(self.into), self.options)

    def _start(self) -> Start | None:
        """What gives the codes to start from; None for the average."""
        equipment = self.equipment
        if equipment.start(self.into) == ENCODER:
            return equipment.encoder
        if equipment.init is None:
            return None
        codes = torch.from_numpy(equipment.init).to(equipment.device)
        return lambda _faces, _generator: codes

    def parameters(self) -> dict[str, Any]:
        """How the pair's stand-in for LPIPS looks is told where it measures."""
        equipment, init = self.equipment, self.equipment.init
        start = equipment.start(self.into) if init is None else array_sha256(init)
        told = {name: value for name, value in asdict(self.options).items() if name != "seed"}
        told |= {"w_std": equipment.w_std, "init": start}
        if settings := equipment.perceptual_settings():
            told["perceptual"] = settings
        return told

    def models(self) -> Mapping[str, str]:
        """What measures Eq. 4, and the encoder where its codes are the start."""
        equipment = self.equipment
        encoded = equipment.start(self.into) == ENCODER
        return {**equipment.perceptual_models(), **(equipment.encoder_models if encoded else {})}

    @property
    def seed(self) -> int:
        """Of the noise on codes and maps."""
        return self.options.seed
