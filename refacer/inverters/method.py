"""What a way to a code must tell: its networks, its inverter, its part of the passport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from refacer.equipment import Equipment
from refacer.options import INVERTERS, GeneratorRole
from refacer.stages.inversion import Inverter


class Method(ABC):
    """A way to a code as it was chosen; nothing is read before it is asked for.

    name: as users choose it; into: the generator that is inverted.
    """

    def __init__(self, equipment: Equipment, name: str, into: GeneratorRole) -> None:
        self.equipment, self.name = equipment, name
        self.into: GeneratorRole = into

    @abstractmethod
    def check(self) -> None:
        """Meet choices that mean nothing and networks that are not there, before the work.

        Raises UsageError, ShapeMismatch, WeightsMissing.
        """

    @abstractmethod
    def inverter(self) -> Inverter:
        """The inverter with its networks."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What affects its codes, beside the models and the seed: values that JSON can hold."""

    @property
    def carried(self) -> bool:
        """Whether its network is the pair's own."""
        return False

    def models(self) -> Mapping[str, str]:
        """sha256 by role of the networks that affect its codes, beside the generator."""
        return {}

    @property
    def seed(self) -> int | None:
        """Of its random numbers; None where it has none."""
        return None


def chosen_method(equipment: Equipment, into: GeneratorRole = "rendering") -> Method:
    """The way that was chosen with `--inverter`, the same object at each call: its networks are read once."""
    if into not in equipment.methods:
        name = equipment.choices.inverter
        module, _, kind = INVERTERS[name].partition(":")
        method: type[Method] = getattr(import_module(f"refacer.inverters.{module}"), kind)
        equipment.methods[into] = method(equipment, name, into)
    return equipment.methods[into]
