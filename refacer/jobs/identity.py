"""Whether a face is still the same person after the change: measured for the report where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from threading import Lock

from refacer.engine import Refacer, Stages
from refacer.networks.identity import IdentityNetwork
from refacer.weights.choices import choose


class FaceIdentity:
    """Compares a face before and after, one at a time: dlib's networks are not to be shared."""

    def __init__(self, studio: Refacer) -> None:
        self._studio, self._lock = studio, Lock()

    def of(self, face: Stages) -> float | None:
        """How alike both crops of a face are, by the network's own measure; None where one of them shows no face."""
        before, after = (self._studio.tensor(one.source) for one in (face.face, face.real))
        with self._lock:
            return self._network.compare(before, after)

    @cached_property
    def _network(self) -> IdentityNetwork:
        """Loaded when it is first asked."""
        chosen, equipment = choose("identity"), self._studio.equipment
        equipment.note(*(replace(use, role=f"{use.role}, for measuring only") for use in chosen.uses))
        return chosen.load(equipment.device)
