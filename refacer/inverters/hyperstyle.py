"""`--inverter hyperstyle`: one code of W, and changes of the generator's weights that travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from refacer.inverters.method import Method
from refacer.networks.hyperstyle import HyperStyle
from refacer.stages.encode import check_average
from refacer.stages.offsets import HyperInversion
from refacer.weights.choices import Choice, choose, require


class Hyper(Method):
    """The published networks, from their two files."""

    @cached_property
    def _published(self) -> Choice:
        return choose("encoder", self.name)

    def check(self) -> None:
        """Also whether codes and layers are those of the generator that is inverted."""
        self.equipment.require(self.into, perceptual=True)
        require([self._published])
        _ = self._network

    @cached_property
    def _network(self) -> HyperStyle:
        """The networks, checked."""
        equipment = self.equipment
        network: HyperStyle = self._published.load(equipment.device)
        generator = equipment.generator(self.into)
        network.check(generator)
        check_average(network.latent_avg, generator, equipment.w_std, self.name)
        equipment.note(*self._published.uses)
        return network

    def inverter(self) -> HyperInversion:
        """The networks with what measures them."""
        return HyperInversion(self._network, self.equipment.perceptual)

    def parameters(self) -> dict[str, Any]:
        """It has none: all is in the networks."""
        return {}

    def models(self) -> Mapping[str, str]:
        """Both networks."""
        return self._published.models
