"""The loop around a trainer's iterations: ticks, stopping, the end. Yields events; writes and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from refacer.training.processes import Processes
from refacer.training.statistics import Statistics


class Schedule(Protocol):
    """How long a run is and how often it reports."""

    @property
    def kimg(self) -> float:
        """Thousands of images to see in all."""
        ...

    @property
    def tick_kimg(self) -> float:
        """Thousands of images between two ticks."""
        ...


class Trains(Protocol):
    """What the loop, and the run around it, needs of a trainer."""

    images_seen: int
    processes: Processes
    statistics: Statistics

    @property
    def options(self) -> Schedule:
        """How long to train."""
        ...

    def step(self) -> None:
        """One iteration; adds to `images_seen` and `statistics`."""
        ...

    def measure(self) -> dict[str, Any]:
        """Numbers of this moment for the log, beside the means of a tick; leaves no trace in the run."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly, with `images_seen`: tensors and numbers. Every process calls it."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True)
class Tick:
    """What happened since the last tick: the means of `statistics`, what the trainer measures, the speed."""

    images_seen: int
    means: dict[str, float]
    measured: dict[str, Any]
    seconds_per_kimg: float


@dataclass(frozen=True)
class Stopped:
    """The caller asked to stop; the state is that between two iterations."""

    images_seen: int


@dataclass(frozen=True)
class Finished:
    """The run has seen all its images."""

    images_seen: int


def train(trainer: Trains, stopping: Callable[[], bool] = lambda: False) -> Iterator[Tick | Stopped | Finished]:
    """Train until `options.kimg`; after each Tick the caller may save `trainer.state_dict()` and samples.

    `stopping` is asked after every iteration; when it says so, Stopped is the last event. With several processes each
    runs this, and all must be told the same.
    """
    options = trainer.options
    total, tick = round(options.kimg * 1000), options.tick_kimg * 1000
    while trainer.images_seen < total:
        start, began = trainer.images_seen, time.perf_counter()
        due = min((start // tick + 1) * tick, total)
        stop = False
        while trainer.images_seen < due and not stop:
            trainer.step()
            stop = stopping()
        if trainer.images_seen >= due:
            means = trainer.statistics.take(trainer.processes.sum)
            seconds = (time.perf_counter() - began) / (trainer.images_seen - start) * 1000
            yield Tick(trainer.images_seen, means, trainer.measure(), seconds)
        if stop:
            yield Stopped(trainer.images_seen)
            return
    yield Finished(trainer.images_seen)
