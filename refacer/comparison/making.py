"""The pictures of a comparison in the making: here, one after the other, or by the workers of a cluster."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from refacer.comparison.edited import EditingWorker
from refacer.comparison.faces import ComparedFace
from refacer.comparison.methods import CodeStore, Kept, Worker, Works, method_of
from refacer.equipment import Equipment
from refacer.errors import OutOfMemory
from refacer.files.artefacts import Face, own_passport
from refacer.files.pictures import Source
from refacer.jobs.crew import Crew, crew
from refacer.jobs.farm import FEW_CORES
from refacer.jobs.worker import Recipe, portable
from refacer.options import CompareOptions
from refacer.types import Passport


@dataclass(frozen=True, eq=False)
class Due:
    """A face that a method is to make a picture of."""

    method: str
    face: ComparedFace

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"{self.method}/{self.face.name}"


@dataclass(frozen=True)
class Made:
    """What became of it: a PNG and the seconds it took, or why there is none; took: the seconds now."""

    data: bytes = b""
    seconds: float = 0.0
    took: float = 0.0
    error: Exception | None = None


def worker_of(name: str, options: CompareOptions) -> Works:
    """A method at work; raises what it lacks."""
    method = method_of(name)
    return Worker(method, options) if method.sample is None else EditingWorker(method, options)


def made_of(worker: Works, face: Face, name: str, codes: CodeStore) -> Made:
    """What a method makes of a face; an error of its own stops nothing."""
    since = time.perf_counter()
    try:
        data, seconds = worker.make(face, name, codes)
    except Exception as error:
        return Made(error=error, took=time.perf_counter() - since)
    return Made(data, seconds, time.perf_counter() - since)


Making = Generator[tuple[Due, Callable[[], Made]]]
"""Pictures in order, each with what waits for it."""


def made_here(due: Sequence[Due], workers: Mapping[str, Works], codes: CodeStore) -> Making:
    """Each picture when its turn has come."""
    for one in due:
        yield one, partial(made_of, workers[one.method], one.face.face, one.face.name, codes)


@dataclass
class Elsewhere:
    """The cluster where the methods work. facts: of each method, as the last worker said them."""

    options: CompareOptions
    workers: Mapping[str, Works]
    codes: CodeStore
    equipment: Equipment
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _alone: defaultdict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))

    def made(self, due: Sequence[Due], tell: Callable[[str], None]) -> Making:
        """Each picture as a task; codes come back and go out with the tasks. tell: says a line.

        Raises what `crew` raises.
        """
        side_px = self.equipment.resolution
        making = _Making(tuple(self.workers), self.options, side_px)
        cores = FEW_CORES if self.equipment.takes_all(inverts=True) else 1
        recipe = Recipe(making, _signature(self.workers, side_px), None, self.options.device, cores)
        assert self.options.cluster is not None
        with crew(self.options.cluster, recipe, len(due), tell) as workers:
            for one, made in workers.in_order(partial(self._asked, workers), due):
                with workers.halting():
                    yield one, made

    def _asked(self, workers: Crew[_Task, _Reply], one: Due) -> Made:
        """One picture from a worker; of methods that share a code only one finds it."""
        key = self.workers[one.method].code_of(one.face.name)
        if key is None:
            return self._answered(workers, one, None, None)
        with self._alone[key]:
            return self._answered(workers, one, key, self.codes.get(key))

    def _answered(self, workers: Crew[_Task, _Reply], one: Due, key: str | None, kept: Kept | None) -> Made:
        try:
            reply = workers.do(_Task(one.method, one.face.face, one.face.name, kept))
        except OutOfMemory as error:  # no worker has survived it
            return Made(error=error)
        if reply.found is not None and key is not None:
            self.codes.put(key, reply.found)
        self.facts[one.method] = reply.facts
        return reply.made


@dataclass(frozen=True)
class _Task:
    """A face for a method; kept: its code, where that is known."""

    method: str
    face: Face
    name: str
    kept: Kept | None


@dataclass(frozen=True)
class _Reply:
    """What a worker gives back; found: a code that was not known."""

    made: Made
    found: Kept | None
    facts: Mapping[str, Any]


@dataclass
class _InHand:
    """The one code of a task."""

    kept: Kept | None
    found: Kept | None = None

    def get(self, _key: str) -> Kept | None:
        """See `CodeStore`."""
        return self.kept

    def put(self, _key: str, found: Kept) -> None:
        """See `CodeStore`."""
        self.found = found


class _FarMethods:
    """The methods in a worker of a cluster."""

    def __init__(self, workers: Mapping[str, Works]) -> None:
        self._workers, self._working = workers, Lock()

    def __call__(self, task: _Task) -> _Reply:
        worker, codes = self._workers[task.method], _InHand(task.kept)
        with self._working:  # one at a time, so that seconds are its own
            made = made_of(worker, task.face, task.name, codes)
        if made.error is not None:
            made = replace(made, error=portable(made.error))
        return _Reply(made, codes.found, worker.facts)


@dataclass(frozen=True)
class _Making:
    """How a worker makes its methods."""

    names: tuple[str, ...]
    options: CompareOptions
    side_px: int

    def __call__(self, device: str) -> tuple[list[Passport], _FarMethods]:
        options = replace(self.options, device=device)
        workers = {name: worker_of(name, options) for name in self.names}
        for worker in workers.values():
            worker.check()
            worker.read()
        return _signature(workers, self.side_px), _FarMethods(workers)


def _signature(workers: Mapping[str, Works], side_px: int) -> list[Passport]:
    """What decides the pixels: what each method would say of a black face."""
    black = Source(np.zeros((side_px, side_px, 3), np.uint8))
    face = Face(replace(black, passport=own_passport(black.info)), "")
    return [worker.expected(face) for worker in workers.values()]
