"""Runs the items of a plan: one bad input stops nothing, and nothing is overwritten that is not ours."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from refacer import console
from refacer.errors import OutputNotWritable, RefacerWarning, UsageError
from refacer.files import try_folder, write_atomic
from refacer.files.urls import is_url
from refacer.jobs.ahead import in_order
from refacer.jobs.farm import Farm
from refacer.jobs.frame import Frame
from refacer.jobs.plan import Item, Plan
from refacer.jobs.turns import Bench, Outcome, Rules, Turn, Work, refuse_foreign, untold
from refacer.options import FileOptions

T = TypeVar("T")

READ_AHEAD = 2
"""Items that are read before their turn, where one is worked on at a time."""


def run_plan(plan: Plan, work: Work[T], files: FileOptions, farm: Farm[T] | None = None) -> None:
    """Run all items, here or on a farm. One item's error is raised; those of several end in exit code 1."""
    if files.json and any(item.output is None for item in plan.items):
        raise UsageError("--json and the result both want stdout; use -o FILE or --report FILE")
    if farm and not all(item.path and item.output for item in plan.items):
        raise UsageError("--cluster: takes files and folders and writes such; stdin and stdout are one machine's")
    _make_folders(plan)
    with Frame(files, plan.count, facts=farm.facts if farm else work.facts, advice=work.advice) as frame:
        if plan.left_out:
            frame.report.facts["left_out"] = dict(plan.left_out)
        with console.bars(plan.count, quiet=files.quiet) as bars:
            _Runner(plan, work, frame, bars).run(farm)
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


class _Runner(Generic[T]):
    """A plan at work. Items are read, and where they may also worked on, in threads; here they are stored in order."""

    def __init__(self, plan: Plan, work: Work[T], frame: Frame, bars: console.Bars) -> None:
        self.plan, self.work, self.frame, self.bars = plan, work, frame, bars
        sizes = frame.report.page.sizes if frame.report.page else None
        self.keeps = plan.keeps(force=frame.files.force)
        self.bench = Bench(work, Rules(self.keeps, plan.definite, sizes))
        self.tried, self.trying = False, Lock()

    def run(self, farm: Farm[T] | None) -> None:
        """Load, process and store everything."""
        for name, error in self.plan.refused:
            self.frame.failed(name, error)
        if farm and self.plan.items:
            self._farmed_out(farm)
            return
        with self.bench.hearing():
            if self.work.side_by_side > 1 and self._threads:
                self._side_by_side()
            else:
                self._in_turn()

    def _side_by_side(self) -> None:
        """Each item, or batch, whole in a thread of its own."""

        def whole(group: Sequence[Item]) -> list[Turn[T]]:
            turns = [self.bench.load(item) for item in group]
            if due := [turn for turn in turns if turn.loaded is not None]:
                self._try_folders()
                self.bench.process(due, untold)
            return turns

        groups = self._groups()
        threads = min(self.work.side_by_side, len(groups))
        self._finish_each(in_order(whole, groups, threads=threads, ahead=2 * threads))

    def _groups(self) -> list[Sequence[Item]]:
        """Batches of items, whether they are up to date or not."""
        items, size = self.plan.items, self.work.batch
        return [items[i : i + size] for i in range(0, len(items), size)]

    def _farmed_out(self, farm: Farm[T]) -> None:
        """Each item, or batch, whole in a worker of a cluster."""
        groups = self._groups()

        def whole(group: Sequence[Item]) -> list[Turn[T]]:
            if not all(item.written() for item in group):  # else it may be up to date
                self._try_folders()
            return farm.turns(workers, group)

        tell = console.silent if self.frame.files.quiet else console.note
        with farm.at_work(groups, self.work, self.bench.rules, tell) as workers:
            self._finish_each(workers.in_order(whole, groups), workers.halting)

    def _finish_each(
        self,
        groups: Iterable[tuple[Sequence[Item], Callable[[], list[Turn[T]]]]],
        halting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Store and report groups in order, each given with what waits for its turns.

        halting: what gives up those after it where one ends everything, before they are waited for.
        """
        for group, turns in groups:
            self.bars.show_item(group[0].name, len(self.frame.report.results), self.faces)
            with halting():
                for turn in turns():
                    self._finish(turn)

    def _in_turn(self) -> None:
        """One item, or batch, after the other; the next ones are read meanwhile."""
        waiting: list[Turn[T]] = []
        for item, turn in in_order(self.bench.load, self.plan.items, threads=self._threads, ahead=READ_AHEAD):
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

    def _process_and_finish(self, turns: list[Turn[T]]) -> None:
        if turns:
            self.bench.process(turns, self.bars.show_steps)
        for turn in turns:
            self._finish(turn)

    def _finish(self, turn: Turn[T]) -> None:
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
        if self.keeps:
            refuse_foreign(written)
        for path, data in outcome.extras.items():
            _write(path, data)
        for label, data in outcome.results.items():
            _write(paths[label], data)
        return list(paths.values())

    def _report(self, turn: Turn[T], status: str, paths: Iterable[Path | None], facts: Mapping[str, Any]) -> None:
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


def _write(path: Path | None, data: bytes) -> None:
    if path is None:
        console.payload(data)
        return
    if not is_url(path):
        _make_folder(path.parent)
    write_atomic(path, data)


def _make_folders(plan: Plan) -> None:
    """Fail before the work, not after it, where the output's folder cannot be made."""
    for folder in {item.output.parent for item in plan.items if item.output and not is_url(item.output)}:
        _make_folder(folder)


def _try_folders(plan: Plan) -> None:
    """The same where a folder is there but takes no files; a device needs none of its folder."""
    outputs = [item.output for item in plan.items if item.output and not is_url(item.output)]
    targets = [Path(os.path.realpath(path)) for path in outputs if os.path.isfile(path) or not os.path.exists(path)]
    for folder in sorted({target.parent for target in targets}):
        if folder.is_dir():
            try_folder(folder)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"{folder}: cannot be made ({error.strerror}); choose another place with -o") from error
