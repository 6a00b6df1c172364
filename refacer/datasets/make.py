"""One call of `refacer dataset`: gather, make faces, judge them, put them where they belong, show and pack them."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer

from refacer import __version__, console
from refacer.commands.dataset import DatasetFlags
from refacer.commands.shared import Common
from refacer.datasets import journal
from refacer.datasets.curation import Measured, Verdict, judge, with_lists
from refacer.datasets.faces import Made, Making, as_record, make_all
from refacer.datasets.folder import DatasetFolder
from refacer.datasets.gathering import Gathered, Item, gather
from refacer.datasets.journal import Journal
from refacer.errors import NoFace, OutputNotWritable, UsageError, WeightsMissing
from refacer.files import read_bytes
from refacer.files.folder_lock import LOCK, FolderLock
from refacer.jobs.report import Report, exit_code
from refacer.jobs.session import Session
from refacer.options import LEAST_FOUND_PX, LEAST_SIDE_FRAC, AlignOptions, Limits

FATAL = (WeightsMissing, OutputNotWritable)
"""Every picture would meet these."""


@dataclass
class DatasetRun:
    """What was asked for, and what has been found so far."""

    sources: Sequence[Path]
    flags: DatasetFlags
    keep: Sequence[Path]
    drop: Sequence[Path]
    jobs: int | None
    common: Common

    def go(self) -> None:
        """Make the set; raises what one picture raises if it is the only one, or leaves with 1 where some failed."""
        self.folder, self.seen = _folder(self.common), defaultdict[str, list[str]](list)
        lists = tuple(read_names(paths) if paths else None for paths in (self.keep, self.drop))
        gathered = gather(self.sources, skip=self.folder.path, offline=self.common.offline)
        making = self._making()
        with FolderLock(self.folder.path, "refacer dataset"):
            self._make(gathered, making, lists)

    def _make(self, gathered: Gathered, making: Making, lists: tuple[frozenset[str] | None, ...]) -> None:
        """All that is written, and the report of it."""
        self.failures: list[tuple[str, Exception]] = []
        self.alone = gathered.count == 1  # its error is the call's own
        report, code = Report(self.common.report), 1
        try:
            journal = self._collected(gathered, making, report)
            verdicts = self._judged(journal.records, making.size, lists)
            report.facts.update(self._finished(journal.records, verdicts, making))
            code = self._ended(gathered, verdicts, report)
        except BaseException as stop:
            code = _code_of(stop)
            raise
        finally:
            report.close(code, gathered.count)
            if self.common.json:
                console.payload_text(json.dumps({**report.summary(code, gathered.count), "results": report.results}))
        if code:
            raise typer.Exit(code)

    def _making(self) -> Making:
        """How faces are made: on the CPU unless a device is named, for each process would take a share of it."""
        device = "cpu" if self.common.device == "auto" else self.common.device
        session = Session(replace(self.common, device=device))
        size = self.flags.size or session.pair.resolution
        options = AlignOptions(size=size, detector=self.flags.detector, min_size_px=LEAST_FOUND_PX)
        return Making(self.folder, session.common, options, size)

    def _collected(self, gathered: Gathered, making: Making, report: Report) -> Journal:
        """Make what is not made yet; afterwards the journal knows every picture."""
        settings = {"align": asdict(making.options), "models": Session(making.common).detector_models(making.options)}
        journal = Journal(self.folder.path, settings, fresh=self.common.force)
        if not journal.continued:
            self.folder.clear_incoming()
        there = self.folder.names()
        known = frozenset(
            d for d, record in journal.records.items() if all(f["name"] in there for f in record["faces"])
        )
        journal.open(known)
        try:
            self._take_all(gathered, replace(making, known=known), journal, report)
        finally:
            journal.close()
        return journal

    def _take_all(self, gathered: Gathered, making: Making, journal: Journal, report: Report) -> None:
        for name, error in gathered.refused:
            self._failed(name, error, report)
        since = time.perf_counter()
        with console.bars(gathered.count, quiet=self.common.quiet) as bars:
            for item, made in make_all(gathered.items, making, self.jobs or _cores()):
                bars.show_item(item.name, len(report.results))
                self._take(item, made, journal, report, time.perf_counter() - since)
                since = time.perf_counter()

    def _take(self, item: Item, made: Made | Exception, journal: Journal, report: Report, seconds: float) -> None:
        """Note what became of a picture."""
        if isinstance(made, Exception):
            self._failed(item.name, made, report)
            return
        known = made.faces is None
        if made.sha256 and not known and (made.error is None or isinstance(made.error, NoFace)):
            journal.add(as_record(made.sha256, made.faces or (), made.error))
        error = made.error
        if known and made.sha256 and "no_face" in journal.records[made.sha256]:
            error = NoFace(journal.records[made.sha256]["no_face"])
        if error or not made.sha256:
            self._failed(item.name, error or NoFace("no face found"), report)
            return
        self.seen[made.sha256].append(item.name)
        names = [face["name"] for face in journal.records[made.sha256]["faces"]]
        report.add(item.name, "skipped" if known else "done", names, seconds, {"faces": len(names)})

    def _failed(self, name: str, error: Exception, report: Report) -> None:
        """Note a failure and go on, unless nothing else can succeed."""
        worded = type(error)(f"{name}: {error}") if isinstance(error, NoFace) else error
        self.failures.append((name, worded))
        report.add_failure(name, worded)
        if isinstance(error, FATAL) or self.common.fail_fast:
            raise worded
        if not self.alone and (self.common.verbose or not isinstance(error, NoFace)):
            console.error(worded)

    def _judged(
        self, records: Mapping[str, Any], size: int, lists: tuple[frozenset[str] | None, ...]
    ) -> dict[str, Verdict]:
        """The verdict on every face of the pictures that were given; raises UsageError for lists of other faces."""
        faces = [Measured(**face) for digest in self.seen for face in records[digest]["faces"]]
        flags = self.flags
        limits = Limits(flags.min_size or size * LEAST_SIDE_FRAC, flags.max_blur, flags.min_score, flags.max_bits)
        verdicts = judge(faces, limits)
        for option, names in zip(("--keep", "--drop"), lists, strict=True):
            if unknown := sorted((names or frozenset()) - verdicts.keys()):
                raise UsageError(f"{option}: {unknown[0]} is no face of this set ({len(unknown)} such); check the list")
        return with_lists(verdicts, *lists)

    def _finished(self, records: Mapping[str, Any], verdicts: dict[str, Verdict], making: Making) -> dict[str, Any]:
        """Put every face in its place, write what shows them; returns the summary's facts."""
        rows = [
            {**face, "sources": sorted(self.seen[digest]), **_row(verdicts[face["name"]])}
            for digest in self.seen
            for face in records[digest]["faces"]
        ]
        reasons = Counter(row["reasons"][0] for row in rows if row["reasons"])
        facts = {
            "kept": sum(not row["reasons"] for row in rows),
            "put_aside": dict(sorted(reasons.items())),
            "same_file": sum(len(names) - 1 for names in self.seen.values()),
        }
        about = {"refacer": __version__, "size": making.size, "limits": asdict(self.flags), **facts}
        failures = [
            {"source": name, "error": console.describe(error)} for name, error in sorted(self.failures, key=_name)
        ]
        self.folder.finish(about, sorted(rows, key=lambda row: row["name"]), failures)
        return facts

    def _ended(self, gathered: Gathered, verdicts: Mapping[str, Verdict], report: Report) -> int:
        """Tell what was done; the exit code, or the error of an only picture."""
        if gathered.count == 1 and self.failures:
            raise self.failures[0][1]
        kept = sum(verdict.kept for verdict in verdicts.values())
        if not self.common.quiet:
            aside = ", ".join(f"{count} {reason}" for reason, count in report.facts["put_aside"].items())
            console.note(
                f"{kept} faces kept, {len(verdicts) - kept} put aside{f' ({aside})' if aside else ''}, "
                f"{len(self.failures)} pictures failed; look at {self.folder.page}"
            )
        if not kept:
            raise NoFace(f"{self.folder.path}: no face is good enough; look at {self.folder.page}, change the limits")
        return 1 if self.failures else 0


def read_names(paths: Iterable[Path]) -> frozenset[str]:
    """The faces named in lists, one a line, without empty lines and those that begin with #."""
    lines = (line.strip() for path in paths for line in read_bytes(path).decode("utf-8-sig", "replace").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _row(verdict: Verdict) -> dict[str, Any]:
    return {"decision": "keep" if verdict.kept else "put aside", "reasons": list(verdict.reasons), "twin": verdict.twin}


def _code_of(stop: BaseException) -> int:
    """The exit code an exception will end in."""
    if isinstance(stop, KeyboardInterrupt):
        return 130
    return int(stop.code or 0) if isinstance(stop, SystemExit) else exit_code(stop)


def _name(failure: tuple[str, Exception]) -> str:
    return failure[0]


def _folder(common: Common) -> DatasetFolder:
    """The folder of the set; raises UsageError for none, OutputNotWritable for one that holds something else."""
    if common.output in (None, "-"):
        raise UsageError("a data set is a folder; name one with -o")
    folder = Path(str(common.output))
    if folder.suffix.lower() == ".zip" or folder.is_file():
        raise UsageError(f"-o {folder}: a data set is a folder, the zip lies in it; name a folder")
    foreign = folder.is_dir() and any(path.name != LOCK for path in folder.iterdir())
    foreign = foreign and not (folder / journal.NAME).is_file()
    if foreign and not common.force:
        raise OutputNotWritable(f"{folder}: exists and is not a data set of refacer's; choose another folder")
    return DatasetFolder(folder)


def _cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
