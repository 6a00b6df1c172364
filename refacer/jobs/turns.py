"""How one item is worked on: read, and made into what is then stored; the same on this machine and on another one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import local
from typing import Any, Generic, TypeVar

from refacer.errors import OutputNotWritable, RefacerError, RefacerWarning
from refacer.files import read_passport
from refacer.jobs.plan import Item
from refacer.jobs.views import Sizes, View
from refacer.types import Passport, Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What one item became: file contents by label (None: the only one), further files, facts for the report.

    warnings: lines for the user; views: makes the pictures that a page shows, asked only where there is a page.
    """

    results: Mapping[str | None, bytes]
    extras: Mapping[Path, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    views: Callable[[Sizes], list[View]] | None = None


@dataclass(frozen=True)
class Work(Generic[T]):
    """A command's part: `load` one item (None: it is up to date), `process` up to `batch` loaded ones.

    `load` runs ahead of its turn in a thread of its own. advice: what to lower when memory does not suffice; facts:
    more for the report's summary; shown: the pictures that a page shows of an item that is up to date. side_by_side:
    how many batches may be worked on at once, each whole in a thread. signature: what decides the pixels, the same on
    every machine of a cluster.
    """

    load: Callable[[Item], T | None]
    process: Callable[[list[T], Progress], list[Outcome]]
    advice: str
    batch: int = 1
    facts: Callable[[], Mapping[str, Any]] = dict
    shown: Callable[[Item, Sizes], list[View]] | None = None
    side_by_side: int = 1
    signature: Callable[[], Any] = tuple


@dataclass
class Turn(Generic[T]):
    """An item on its way: what was read, what it became or why not, what was warned of, the seconds it took."""

    item: Item
    loaded: T | None = None
    outcome: Outcome | None = None
    views: Sequence[View] = ()
    error: Exception | None = None
    heard: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @contextmanager
    def clocked(self) -> Iterator[None]:
        """Count the time; an error is the item's own."""
        since = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.error = error
        self.seconds += time.perf_counter() - since


@dataclass(frozen=True)
class Rules:
    """What a plan demands of each item. keeps: nothing is overwritten that is not ours; definite: its one result is
    known before the work; sizes: of the pictures for a page, None where there is none."""

    keeps: bool
    definite: bool
    sizes: Sizes | None


class Bench(Generic[T]):
    """Where items are worked on, by several threads if need be. It stores nothing."""

    def __init__(self, work: Work[T], rules: Rules) -> None:
        self.work, self.rules = work, rules
        self._own = local()  # each thread's items at work

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """What is warned of while items are at work waits for their turn, to be told in order and in the report."""
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def hear(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
                turns: Sequence[Turn[T]] = getattr(self._own, "turns", ())
                if not turns or not issubclass(category, RefacerWarning):
                    shown(message, category, *where, **more)
                for turn in turns if issubclass(category, RefacerWarning) else ():
                    named = turn.item.name in str(message)
                    turn.heard.append(str(message) if named else f"{turn.item.name}: {message}")

            warnings.showwarning = hear
            yield

    def load(self, item: Item) -> Turn[T]:
        """Read one item; of one that is up to date, what a page shows of it."""
        turn: Turn[T] = Turn(item)
        with self._at_work([turn]), turn.clocked():
            if self.rules.definite and self.rules.keeps:
                refuse_foreign([item.output])
            turn.loaded = self.work.load(item)
            if turn.loaded is None and self.rules.sizes and self.work.shown:
                turn.views = self.work.shown(item, self.rules.sizes)
        return turn

    def process(self, turns: list[Turn[T]], progress: Progress) -> None:
        """Work on a batch; where it fails as a whole, on each alone."""
        batch, sizes = Turn(turns[0].item), self.rules.sizes
        with self._at_work(turns), batch.clocked():
            loaded = [turn.loaded for turn in turns if turn.loaded is not None]
            for turn, outcome in zip(turns, self.work.process(loaded, progress), strict=True):
                turn.outcome = outcome
                turn.views = outcome.views(sizes) if sizes and outcome.views else ()
        for turn in turns:
            turn.seconds += batch.seconds / len(turns)
        if batch.error and len(turns) == 1:
            turns[0].error = batch.error
        elif batch.error:
            for turn in turns:
                self.process([turn], progress)

    @contextmanager
    def _at_work(self, turns: Sequence[Turn[T]]) -> Iterator[None]:
        """Items that this thread is at work on."""
        self._own.turns = turns
        try:
            yield
        finally:
            self._own.turns = ()


def untold(_done: int, _total: int) -> None:
    """Steps of items side by side make no bar."""


def refuse_foreign(paths: Iterable[Path | None]) -> None:
    """In folders nothing is overwritten that does not carry our passport; raises OutputNotWritable."""
    for path in paths:
        if path and path.exists() and passport_of(path) is None:
            raise OutputNotWritable(f"{path}: exists and is not refacer's; move it or give --force")


def labelled(results: Mapping[str, bytes]) -> dict[str | None, bytes]:
    """Results by label; an only one needs none."""
    alone = len(results) == 1
    return {None if alone else label: data for label, data in results.items()}


def passport_of(path: Path) -> Passport | None:
    """The passport of an existing output; None where there is no output, or not one of ours."""
    try:
        return read_passport(path)
    except RefacerError:
        return None
