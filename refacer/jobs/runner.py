"""Runs the items of a plan: one bad input stops nothing, nothing is overwritten that is not ours (DESIGN 3)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import typer

from refacer import console
from refacer.commands.shared import Common
from refacer.device import is_out_of_memory
from refacer.errors import InputRefused, OutOfMemory, OutputNotWritable, RefacerError, UsageError, WeightsMissing
from refacer.files import read_passport, write_atomic
from refacer.jobs.plan import Item, Plan
from refacer.jobs.report import Report, exit_code
from refacer.types import Passport, Progress

T = TypeVar("T")
FATAL = (WeightsMissing, console.ClosedPipeError)  # every item would meet these


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


def run_plan(plan: Plan, work: Work[T], common: Common) -> None:
    """Run all items. One item's error is raised; those of several are printed and end in exit code 1."""
    if common.json and any(item.output is None for item in plan.items):
        raise UsageError("--json and the result both want stdout; use -o FILE or --report FILE")
    _make_folders(plan)
    report, code = Report(common.report), 1
    try:
        code = _Runner(plan, work, common, report).run()
    except BaseException as stop:
        code = _code_of(stop)
        raise
    finally:
        report.facts.update(work.facts())
        if common.verbose:
            console.note(", ".join(f"{name} {value}" for name, value in report.facts.items() if name != "weights"))
        report.close(code, plan.count)
        if common.json:
            console.payload_text(json.dumps({**report.summary(code, plan.count), "results": report.results}))
    if code:
        raise typer.Exit(code)


@dataclass
class _Runner(Generic[T]):
    """The state of a run."""

    plan: Plan
    work: Work[T]
    common: Common
    report: Report

    def run(self) -> int:
        """Load, process and store everything; returns the exit code."""
        with console.bars(self.plan.count, quiet=self.common.quiet) as self.bars:
            for name, error in self.plan.refused:
                self._failed(name, error)
            self._run_items()
        failed = self.report.count("failed")
        if self.plan.count > 1 and not self.common.quiet:
            done, skipped = self.report.count("done"), self.report.count("skipped")
            console.note(f"{done} done, {skipped} up to date, {failed} failed")
        return 1 if failed else 0

    def _run_items(self) -> None:
        waiting: list[tuple[Item, T]] = []
        self.since = time.perf_counter()
        for item in self.plan.items:
            self.bars.show_item(item.name, len(self.report.results))
            loaded = self._load(item)
            waiting += [] if loaded is None else [(item, loaded)]
            if len(waiting) == self.work.batch:
                self._process(waiting)
                waiting = []
        self._process(waiting)

    def _load(self, item: Item) -> T | None:
        """Read one item; None where it failed or is up to date."""
        try:
            if self.plan.definite:
                self._refuse_foreign([item.output])
            loaded = self.work.load(item)
        except Exception as error:
            self._failed(item.name, error)
            return None
        if loaded is None:
            self._done(item, "skipped", [item.output], {})
        return loaded

    def _process(self, loaded: list[tuple[Item, T]]) -> None:
        """Work on a batch; where it fails as a whole, on each alone."""
        try:
            outcomes = self.work.process([value for _, value in loaded], self.bars.show_steps) if loaded else []
        except Exception as error:
            if len(loaded) == 1:
                self._failed(loaded[0][0].name, error)
                return
            for one in loaded:
                self._process([one])
            return
        for (item, _), outcome in zip(loaded, outcomes, strict=True):
            try:
                self._store(item, outcome)
            except Exception as error:
                self._failed(item.name, error)

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
        names = [str(path or "-") for path in paths]
        self.report.add(item.name, status, names, now - self.since, facts)
        self.since = now
        if self.common.verbose:
            console.note(f"{item.name}: {status}, {', '.join(names)}")

    def _failed(self, name: str, error: Exception) -> None:
        """Record a failure and go on, unless it ends the run."""
        error = self._worded(name, error)
        self.report.add_failure(name, error)
        if self.plan.count == 1 or isinstance(error, FATAL):
            raise error
        console.error(error)
        if self.common.fail_fast:
            raise typer.Exit(1)

    def _worded(self, name: str, error: Exception) -> Exception:
        """The error as the user meets it, with the input's name in it."""
        if is_out_of_memory(error):
            return OutOfMemory(f"{name}: memory did not suffice on this device; {self.work.advice}")
        if isinstance(error, OSError):
            return InputRefused(f"{name}: {error.strerror or error}; check the file")
        if isinstance(error, RefacerError) and name not in str(error):
            return type(error)(f"{name}: {error}").with_traceback(error.__traceback__)
        return error

    def _refuse_foreign(self, paths: Iterable[Path | None]) -> None:
        """In folders nothing is overwritten that does not carry our passport."""
        if not self.plan.folder or self.common.force:
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"{folder}: cannot be made ({error.strerror}); choose another place with -o") from error


def _code_of(stop: BaseException) -> int:
    """The exit code an exception will end in."""
    if isinstance(stop, SystemExit | typer.Exit):
        return int(getattr(stop, "exit_code", None) or getattr(stop, "code", None) or 0)
    return 130 if isinstance(stop, KeyboardInterrupt) else exit_code(stop)
