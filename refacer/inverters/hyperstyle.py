"""`--inverter hyperstyle`: one code of W, and changes of the generator's weights that travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from refacer.equipment import trunk_model
from refacer.inverters.method import Method
from refacer.networks.hyperstyle import HyperStyle
from refacer.stages.encode import check_average
from refacer.stages.offsets import HyperInversion
from refacer.weights import terms
from refacer.weights.choices import Choice, choose, require


class Hyper(Method):
    """The pair's own networks, else the published ones from their two files."""

    @cached_property
    def _published(self) -> Choice | None:
        """None where the pair's own takes its place."""
        pair = self.equipment.pair
        if pair.has(self.name) and self._own.config.into == self.into:
            return None
        return choose("encoder", self.name)

    @cached_property
    def _own(self) -> HyperStyle:
        network = self.equipment.pair.network(self.name).to(self.equipment.device)
        assert isinstance(network, HyperStyle)
        return network

    def check(self) -> None:
        """Also whether codes and layers are those of the generator that is inverted."""
        self.equipment.require(self.into, perceptual=True)
        if self._published is not None:
            require([self._published])
        _ = self._network

    @cached_property
    def _network(self) -> HyperStyle:
        """The networks, checked."""
        equipment, published = self.equipment, self._published
        network: HyperStyle = self._own if published is None else published.load(equipment.device)
        generator = equipment.generator(self.into)
        network.check(generator)
        check_average(network.latent_avg, generator, equipment.w_std, self.name)
        if published is None:
            equipment.note(terms.of_pair(self.name, equipment.pair), *terms.of_trunk(network.config))
        else:
            equipment.note(*published.uses)
        return network

    def inverter(self) -> HyperInversion:
        """The networks with what measures them."""
        return HyperInversion(self._network, self.equipment.perceptual)

    @property
    def carried(self) -> bool:
        """See the class above."""
        return self._published is None

    def parameters(self) -> dict[str, Any]:
        """It has none: all is in the networks."""
        return {}

    def models(self) -> Mapping[str, str]:
        """Both networks, of a pair in one file, and what they look through."""
        published, pair = self._published, self.equipment.pair
        if published is not None:
            return published.models
        return {self.name: pair.sha256(self.name)} | trunk_model(self._own.config)
