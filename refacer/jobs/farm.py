"""A plan's items on a cluster: each worker has a bench like that of this machine; here turns come back to be stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Generic, TypeVar

from refacer.equipment import Equipment
from refacer.errors import OutOfMemory, RefacerWarning
from refacer.jobs.crew import Crew, Recipe, crew
from refacer.jobs.plan import Item
from refacer.jobs.turns import Bench, Rules, Turn, Work, untold
from refacer.jobs.worker import portable
from refacer.options import Call

T = TypeVar("T")

NETWORKS_ELSEWHERE = "cpu"
"""The device of the machine that gives work to others, which may have no other."""

FEW_CORES = 4
"""Cores of a worker whose networks are too large for one."""


@dataclass(frozen=True)
class _Reply:
    """What a worker gives back: items as they are stored, and what its report would say."""

    turns: list[Turn[Any]]
    facts: Mapping[str, Any]


class _FarBench(Generic[T]):
    """A bench in a worker. One item is read while another is worked on."""

    def __init__(self, work: Work[T], rules: Rules) -> None:
        self._bench, self._working = Bench(work, rules), Lock()
        warnings.simplefilter("always", RefacerWarning)
        self._hearing = ExitStack()
        self._hearing.enter_context(self._bench.hearing())  # as long as the worker lives

    def __call__(self, items: Sequence[Item]) -> _Reply:
        turns = [self._bench.load(item) for item in items]
        due = [turn for turn in turns if turn.loaded is not None]
        if due:
            with self._working:
                self._bench.process(due, untold)
        return _Reply([_portable(turn) for turn in turns], dict(self._bench.work.facts()))


@dataclass(frozen=True)
class _Making(Generic[T]):
    """How a worker makes its bench."""

    job: Callable[[str], Work[T]]
    rules: Rules

    def __call__(self, device: str) -> tuple[Any, _FarBench[T]]:
        work = self.job(device)
        return work.signature(), _FarBench(work, self.rules)


@dataclass
class Farm(Generic[T]):
    """The cluster that a plan goes to. where: as --cluster names it; job: device -> the command's part, there;
    device, cores: see `Recipe`."""

    where: str
    job: Callable[[str], Work[T]]
    device: str
    cores: int
    _facts: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> Mapping[str, Any]:
        """What the report says in the end, as the worker that used most says it."""
        return self._facts

    @contextmanager
    def at_work(
        self, groups: Sequence[Sequence[Item]], work: Work[T], rules: Rules, tell: Callable[[str], None]
    ) -> Iterator[Crew[Any, Any]]:
        """A crew for groups of items. work: the command's part, as this machine has it."""
        seen = str(groups[0][0].path)
        recipe = Recipe(_Making(self.job, rules), work.signature(), seen, self.device, self.cores)
        self._facts = work.facts()
        with crew(self.where, recipe, len(groups), tell) as workers:
            yield workers

    def turns(self, workers: Crew[Any, Any], items: Sequence[Item]) -> list[Turn[T]]:
        """What a worker makes of items; one that no worker survives has failed, and stops nothing."""
        try:
            reply: _Reply = workers.do(items)
        except OutOfMemory as error:
            return [Turn(item, error=error) for item in items]
        used = len(self._facts.get("weights", ()))
        if self._facts.get("device") != reply.facts.get("device") or len(reply.facts.get("weights", ())) > used:
            self._facts = reply.facts
        return reply.turns


def farm_of(call: Call, job: Callable[[str], Work[T]], equipment: Equipment, *, inverts: bool) -> Farm[T] | None:
    """The farm that a command names, None for this machine; equipment: the pair's, as it is here."""
    cores = FEW_CORES if equipment.takes_all(inverts=inverts) else 1
    return Farm(call.cluster, job, call.device, cores) if call.cluster else None


def _portable(turn: Turn[Any]) -> Turn[Any]:
    """A turn without what stays here."""
    error = None if turn.error is None else portable(turn.error)
    outcome = None if turn.outcome is None else replace(turn.outcome, views=None)
    return replace(turn, loaded=None, outcome=outcome, error=error)
