"""Runs the items of a plan: one bad input stops nothing, and nothing is overwritten that is not ours."""

from __future__ import annotations

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from refacer import console
from refacer.errors import OutputNotWritable, RefacerError, RefacerWarning, UsageError
from refacer.files import read_passport, try_folder, write_atomic
from refacer.jobs.frame import Frame
from refacer.jobs.plan import Item, Plan
from refacer.options import FileOptions
from refacer.types import Passport, Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What one item became: file contents by label (None: the only one), further files, facts for the report."""

    results: Mapping[str | None, bytes]
    extras: Mapping[Path, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work(Generic[T]):
    """A command's part: `load` one item (None: it is up to date), `process` up to `batch` loaded ones.

    advice: what to lower when memory does not suffice; facts: more for the report's summary.
    """

    load: Callable[[Item], T | None]
    process: Callable[[list[T], Progress], list[Outcome]]
    advice: str
    batch: int = 1
    facts: Callable[[], Mapping[str, Any]] = dict


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
            done, skipped, failed = map(frame.report.count, ("done", "skipped", "failed"))
            console.note(f"{done} done, {skipped} up to date, {failed} failed")
    frame.leave()


class _Runner(Generic[T]):
    """A plan at work."""

    def __init__(self, plan: Plan, work: Work[T], frame: Frame, bars: console.Bars) -> None:
        self.plan, self.work, self.frame, self.bars = plan, work, frame, bars
        self.since = time.perf_counter()
        self.told: defaultdict[str, list[str]] = defaultdict(list)

    def run(self) -> None:
        """Load, process and store everything."""
        for name, error in self.plan.refused:
            self.frame.failed(name, error)
        waiting: list[tuple[Item, T]] = []
        self.since = time.perf_counter()
        tried = False
        for item in self.plan.items:
            self.bars.show_item(item.name, len(self.frame.report.results))
            loaded = self._load(item)
            if loaded is not None:
                if not tried:  # before the first work, but not where nothing is to be done
                    _try_folders(self.plan)
                    tried = True
                waiting.append((item, loaded))
            if len(waiting) == self.work.batch:
                self._process(waiting)
                waiting = []
        self._process(waiting)

    @contextmanager
    def _hearing(self, items: Iterable[Item]) -> Iterator[None]:
        """What is warned of meanwhile goes into the items' lines of the report, too; with --quiet only there."""
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def hear(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
                if not issubclass(category, RefacerWarning):
                    shown(message, category, *where, **more)
                    return
                for item in items:
                    told = str(message) if item.name in str(message) else f"{item.name}: {message}"
                    self.told[item.name].append(told)
                    if not self.frame.files.quiet:
                        shown(told, category, *where, **more)

            warnings.showwarning = hear
            yield

    def _load(self, item: Item) -> T | None:
        """Read one item; None where it failed or is up to date."""
        try:
            if self.plan.definite:
                self._refuse_foreign([item.output])
            with self._hearing([item]):
                loaded = self.work.load(item)
        except Exception as error:
            self.frame.failed(item.name, error)
            return None
        if loaded is None:
            self._done(item, "skipped", [item.output], {})
        return loaded

    def _process(self, loaded: list[tuple[Item, T]]) -> None:
        """Work on a batch; where it fails as a whole, on each alone."""
        try:
            with self._hearing([item for item, _ in loaded]):
                outcomes = self.work.process([value for _, value in loaded], self.bars.show_steps) if loaded else []
        except Exception as error:
            if len(loaded) == 1:
                self.frame.failed(loaded[0][0].name, error)
                return
            for one in loaded:
                self._process([one])
            return
        for (item, _), outcome in zip(loaded, outcomes, strict=True):
            try:
                self._store(item, outcome)
            except Exception as error:
                self.frame.failed(item.name, error)

    def _store(self, item: Item, outcome: Outcome) -> None:
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
        self._done(item, "done", list(paths.values()), outcome.facts)

    def _done(self, item: Item, status: str, paths: Iterable[Path | None], facts: Mapping[str, Any]) -> None:
        now = time.perf_counter()
        facts = {**facts, "warnings": self.told.pop(item.name)} if item.name in self.told else facts
        names = [str(path or "-") for path in paths]
        self.frame.report.add(item.name, status, names, now - self.since, facts)
        self.since = now
        if self.frame.files.verbose:
            console.note(f"{item.name}: {status}, {', '.join(names)}")

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
