"""`--inverter ii2s`: optimisation under a latent prior (Zhu et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from refacer.errors import UsageError
from refacer.inverters.method import Method
from refacer.options import II2SOptions
from refacer.stages.ii2s import II2S


class PriorOptimisation(Method):
    """Steps, rate and weight of the prior are those published where none were chosen."""

    @property
    def options(self) -> II2SOptions:
        """Its numbers."""
        choices, usual = self.equipment.choices, II2SOptions()
        if choices.steps == 0:
            raise UsageError("--steps 0: II2S starts at the average code and needs steps")
        return II2SOptions(
            steps=choices.steps or usual.steps,
            lr=usual.lr if choices.lr is None else choices.lr,
            prior_weight=usual.prior_weight if choices.prior is None else choices.prior,
            precision=choices.precision,
            seed=choices.seed,
        )

    def check(self) -> None:
        """Also steps that would find nothing."""
        self.equipment.require(self.into, perceptual=True)
        _ = self.options

    def inverter(self) -> II2S:
        """With the perceptual distance that was chosen."""
        return II2S(self.equipment.perceptual, self.options)

    def parameters(self) -> dict[str, Any]:
        """Its numbers, and how the pair's stand-in for LPIPS looks where it measures."""
        settings = self.equipment.perceptual_settings()
        told = {name: value for name, value in asdict(self.options).items() if name != "seed"}
        return {**told, **({"perceptual": settings} if settings else {})}

    def models(self) -> Mapping[str, str]:
        """What measures the distance."""
        return self.equipment.perceptual_models()

    @property
    def seed(self) -> int:
        """Of the noise."""
        return self.options.seed
