"""`--inverter psp|e4e|restyle-psp|restyle-e4e|linear`: the pair's own encoder of that kind, else the published one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from refacer.equipment import ENCODER
from refacer.errors import WeightsMissing
from refacer.inverters.method import Method
from refacer.networks.encoders import FaceEncoder
from refacer.stages.encode import Encoding, check_is_of
from refacer.weights.choices import Choice, choose, require

OWN_ONLY = "linear"  # nobody has published one


class Encode(Method):
    """An encoder alone (stages/encode.py)."""

    @cached_property
    def _published(self) -> Choice | None:
        """The published encoder of that name; None where the pair's own takes its place."""
        equipment = self.equipment
        if equipment.pair.has(ENCODER):
            own = equipment.encoder.config
            if (own.kind, own.into) == (self.name, self.into):
                return None
        if self.name == OWN_ONLY:
            made = f"train one with `refacer train-encoder FACES --kind {OWN_ONLY} --into {self.into} -o RUN`"
            raise WeightsMissing(f"--inverter {OWN_ONLY}: the pair carries none for its {self.into} generator; {made}")
        return choose("encoder", self.name)

    def check(self) -> None:
        """Also whether the codes are those of the generator that is inverted."""
        self.equipment.require(self.into, perceptual=True)
        if self._published is not None:
            require([self._published])
        _ = self._network

    @cached_property
    def _network(self) -> FaceEncoder:
        """The encoder, checked."""
        equipment = self.equipment
        if self._published is None:
            return equipment.encoder
        network: FaceEncoder = self._published.load(equipment.device)
        check_is_of(network, equipment.generator(self.into), equipment.w_std, self.name)
        equipment.note(*self._published.uses)
        return network

    def inverter(self) -> Encoding:
        """The encoder with what measures it."""
        return Encoding(self._network, self.equipment.perceptual)

    @property
    def carried(self) -> bool:
        """See the class above."""
        return self._published is None

    def parameters(self) -> dict[str, Any]:
        """It has none: all is in the network."""
        return {}

    def models(self) -> Mapping[str, str]:
        """The encoder."""
        published = self._published
        return self.equipment.encoder_models if published is None else published.models
