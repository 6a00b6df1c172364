"""Runs the items of a plan: one bad input stops nothing, and nothing is overwritten that is not ours."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, local
from typing import Any, Generic, TypeVar

from refacer import console
from refacer.errors import OutputNotWritable, RefacerError, RefacerWarning, UsageError
from refacer.files import read_passport, try_folder, write_atomic
from refacer.jobs.ahead import in_order
from refacer.jobs.frame import Frame
from refacer.jobs.plan import Item, Plan
from refacer.jobs.views import Sizes, View
from refacer.options import FileOptions
from refacer.types import Passport, Progress

T = TypeVar("T")

READ_AHEAD = 2
"""Items that are read before their turn, where one is worked on at a time."""


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
    how many items may be worked on at once, each whole in a thread; then `batch` is 1.
    """

    load: Callable[[Item], T | None]
    process: Callable[[list[T], Progress], list[Outcome]]
    advice: str
    batch: int = 1
    facts: Callable[[], Mapping[str, Any]] = dict
    shown: Callable[[Item, Sizes], list[View]] | None = None
    side_by_side: int = 1


def run_plan(plan: Plan, work: Work[T], files: FileOptions) -> None:
    """Run all items. One item's error is raised; those of several are printed and end in exit code 1."""
    if files.json and any(item.output is None for item in plan.items):
        raise UsageError("--json and the result both want stdout; use -o FILE or --report FILE")
    _make_folders(plan)
    with Frame(files, plan.count, facts=work.facts, advice=work.advice) as frame:
        if plan.left_out:
            frame.report.facts["left_out"] = dict(plan.left_out)
        with console.bars(plan.count, quiet=files.quiet) as bars:
            _Runner(plan, work, frame, bars).run()
        if plan.count > 1 and not files.quiet:
            console.note(_in_the_end(plan, frame))
    frame.leave()


def _in_the_end(plan: Plan, frame: Frame) -> str:
    """What was done, left and failed, and where to look."""
    report, several = frame.report, plan.folder is not None
    left = sum(bool(result.get("left")) for result in report.results)
    counts = {"done": report.count("done"), "up to date": report.count("skipped"), "failed": report.count("failed")}
    told = [f"{count} {name}" for name, count in counts.items()]
    if left:
        told.insert(2, f"{left} with a face left as it was")
    places = [f"in {plan.folder}"] if several else []
    places += [f"report {report.path}"] if report.path else []
    return f"{', '.join(told)}{'; ' if places else ''}{', '.join(places)}"


@dataclass
class _Turn(Generic[T]):
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


class _Runner(Generic[T]):
    """A plan at work. Items are read, and where they may also worked on, in threads; here they are stored in order."""

    def __init__(self, plan: Plan, work: Work[T], frame: Frame, bars: console.Bars) -> None:
        self.plan, self.work, self.frame, self.bars = plan, work, frame, bars
        self.sizes = frame.report.page.sizes if frame.report.page else None
        self.tried, self.trying = False, Lock()
        self.own = local()  # each thread's items at work

    def run(self) -> None:
        """Load, process and store everything."""
        for name, error in self.plan.refused:
            self.frame.failed(name, error)
        with self._hearing():
            if self.work.side_by_side > 1 and self._threads:
                self._side_by_side()
            else:
                self._in_turn()

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        """What is warned of while items are at work waits for their turn, to be told in order and in the report."""
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def hear(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
                turns: Sequence[_Turn[T]] = getattr(self.own, "turns", ())
                if not turns or not issubclass(category, RefacerWarning):
                    shown(message, category, *where, **more)
                for turn in turns if issubclass(category, RefacerWarning) else ():
                    named = turn.item.name in str(message)
                    turn.heard.append(str(message) if named else f"{turn.item.name}: {message}")

            warnings.showwarning = hear
            yield

    @contextmanager
    def _at_work(self, turns: Sequence[_Turn[T]]) -> Iterator[None]:
        """Items that this thread is at work on."""
        self.own.turns = turns
        try:
            yield
        finally:
            self.own.turns = ()

    def _side_by_side(self) -> None:
        """Each item whole in a thread of its own."""

        def whole(item: Item) -> _Turn[T]:
            turn = self._load(item)
            if turn.loaded is not None:
                self._try_folders()
                self._process([turn], _untold)
            return turn

        threads = min(self.work.side_by_side, len(self.plan.items))
        for item, turn in in_order(whole, self.plan.items, threads=threads, ahead=2 * threads):
            self.bars.show_item(item.name, len(self.frame.report.results), self.faces)
            self._finish(turn())

    def _in_turn(self) -> None:
        """One item, or batch, after the other; the next ones are read meanwhile."""
        waiting: list[_Turn[T]] = []
        for item, turn in in_order(self._load, self.plan.items, threads=self._threads, ahead=READ_AHEAD):
            self.bars.show_item(item.name, len(self.frame.report.results), self.faces)
            read = turn()
            if read.loaded is None:
                self._finish(read)
                continue
            self._try_folders()
            waiting.append(read)
            if len(waiting) == self.work.batch:
                self._process_and_finish(waiting)
                waiting = []
        self._process_and_finish(waiting)

    @property
    def _threads(self) -> int:
        """Threads that read ahead; none where there is nothing ahead, or where stdin may keep one waiting for ever."""
        return int(len(self.plan.items) > 1 and all(item.path for item in self.plan.items))

    @property
    def faces(self) -> int:
        """Faces of the items so far."""
        return sum(result.get("faces") or 0 for result in self.frame.report.results)

    def _load(self, item: Item) -> _Turn[T]:
        """Read one item; of one that is up to date, what a page shows of it."""
        turn: _Turn[T] = _Turn(item)
        with self._at_work([turn]), turn.clocked():
            if self.plan.definite:
                self._refuse_foreign([item.output])
            turn.loaded = self.work.load(item)
            if turn.loaded is None and self.sizes and self.work.shown:
                turn.views = self.work.shown(item, self.sizes)
        return turn

    def _process(self, turns: list[_Turn[T]], progress: Progress) -> None:
        """Work on a batch; where it fails as a whole, on each alone."""
        batch = _Turn(turns[0].item)
        with self._at_work(turns), batch.clocked():
            loaded = [turn.loaded for turn in turns if turn.loaded is not None]
            for turn, outcome in zip(turns, self.work.process(loaded, progress), strict=True):
                turn.outcome = outcome
                turn.views = outcome.views(self.sizes) if self.sizes and outcome.views else ()
        for turn in turns:
            turn.seconds += batch.seconds / len(turns)
        if batch.error and len(turns) == 1:
            turns[0].error = batch.error
        elif batch.error:
            for turn in turns:
                self._process([turn], progress)

    def _process_and_finish(self, turns: list[_Turn[T]]) -> None:
        if turns:
            self._process(turns, self.bars.show_steps)
        for turn in turns:
            self._finish(turn)

    def _finish(self, turn: _Turn[T]) -> None:
        """Store what an item became, and report it."""
        outcome = turn.outcome
        for told in turn.heard if not self.frame.files.quiet else ():
            warnings.warn(told, RefacerWarning, stacklevel=2)
        if turn.error is None and outcome is None:
            self._report(turn, "skipped", [turn.item.output], {})
            return
        paths: list[Path | None] = []
        if outcome is not None and turn.error is None:
            for warning in outcome.warnings:
                console.warn(warning)
            with turn.clocked():
                paths = self._store(turn.item, outcome)
        if turn.error is not None:
            self.frame.failed(turn.item.name, turn.error)
        elif outcome is not None:
            self._report(turn, "done", paths, outcome.facts)

    def _store(self, item: Item, outcome: Outcome) -> list[Path | None]:
        """Write an item's files, the result last, so that a result vouches for the rest."""
        paths = {label: item.part(label) for label in outcome.results}
        written = [path for path in (*outcome.extras, *paths.values()) if path]
        for path in written:
            self.plan.claims.claim(path, item.name)
        self._refuse_foreign(written)
        for path, data in outcome.extras.items():
            _write(path, data)
        for label, data in outcome.results.items():
            _write(paths[label], data)
        return list(paths.values())

    def _report(self, turn: _Turn[T], status: str, paths: Iterable[Path | None], facts: Mapping[str, Any]) -> None:
        names = [str(path or "-") for path in paths]
        facts = {**facts, "warnings": turn.heard} if turn.heard else facts
        self.frame.report.add(turn.item.name, status, names, turn.seconds, facts, turn.views)
        if self.frame.files.verbose:
            console.note(f"{turn.item.name}: {status}, {', '.join(names)}")

    def _try_folders(self) -> None:
        """Before the first work, but not where nothing is to be done. What it raises ends everything."""
        with self.trying:
            if not self.tried:
                _try_folders(self.plan)
                self.tried = True

    def _refuse_foreign(self, paths: Iterable[Path | None]) -> None:
        """In folders nothing is overwritten that does not carry our passport."""
        if not self.plan.keeps(force=self.frame.files.force):
            return
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


def _untold(_done: int, _total: int) -> None:
    """Steps of items side by side make no bar."""


def _write(path: Path | None, data: bytes) -> None:
    if path is None:
        console.payload(data)
        return
    _make_folder(path.parent)
    write_atomic(path, data)


def _make_folders(plan: Plan) -> None:
    """Fail before the work, not after it, where the output's folder cannot be made."""
    for folder in {item.output.parent for item in plan.items if item.output}:
        _make_folder(folder)


def _try_folders(plan: Plan) -> None:
    """The same where a folder is there but takes no files; a device needs none of its folder."""
    outputs = [item.output for item in plan.items if item.output]
    targets = [Path(os.path.realpath(path)) for path in outputs if os.path.isfile(path) or not os.path.exists(path)]
    for folder in sorted({target.parent for target in targets}):
        if folder.is_dir():
            try_folder(folder)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"{folder}: cannot be made ({error.strerror}); choose another place with -o") from error
