"""One call of `refacer dataset`: gather, make faces, judge them, put them where they belong, show and pack them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from refacer import __version__, console
from refacer.datasets.curation import Measured, Verdict, judge, with_lists
from refacer.datasets.downloads import Gathered, Item, gather
from refacer.datasets.faces import Outcome, Recipe, as_record, make_all, make_on_cluster
from refacer.datasets.folder import DatasetFolder, Journal
from refacer.equipment import Equipment
from refacer.errors import NoFace, OutputNotWritable, UsageError
from refacer.files.folder_lock import LOCK, FolderLock
from refacer.files.sources import DATASET_JOURNAL, read_list
from refacer.jobs.frame import Frame
from refacer.options import LEAST_FOUND_PX, LEAST_SIDE_FRAC, Choices, DatasetOptions, FileOptions, Limits


def make_dataset(sources: Sequence[Path], options: DatasetOptions, files: FileOptions) -> None:
    """Make a set in the folder `files.output`; the same call again goes on, and applies other limits at once.

    sources: folders, zips, pictures and lists of URLs. Raises what the only picture raises, NoFace where no face is
    kept, and leaves with 1 where some of several pictures failed.
    """
    folder = _folder(files)
    if options.cluster and options.jobs:
        raise UsageError("--jobs: is of one machine; a cluster has a worker a core, leave it out with --cluster")
    keep, drop = (_named(paths) for paths in (options.keep, options.drop))
    gathered = gather(sources, skip=folder.path, offline=options.offline)
    recipe = _recipe(folder, options)
    settings, equipment = recipe.settings(), recipe.studio().equipment
    equipment.note(*equipment.choice("detector").uses)  # which works in other processes
    with FolderLock(folder.path, "refacer dataset"), Frame(files, gathered.count, facts=equipment.facts) as frame:
        journal = Journal(folder.path, settings, fresh=files.force)
        run = _Run(recipe, equipment.crop_px, options, journal, frame)
        if not files.quiet:
            console.note(f"{gathered.count} pictures")
        run.take_all(gathered)
        verdicts = run.judged(keep, drop)
        facts = run.finish(verdicts)
        frame.report.facts.update(facts)
        if not files.quiet:
            aside = ", ".join(f"{count} {reason}" for reason, count in facts["put_aside"].items())
            console.note(
                f"{facts['kept']} faces kept, {len(verdicts) - facts['kept']} put aside{f' ({aside})' if aside else ''}"
                f", {frame.report.count('failed')} pictures failed; look at {folder.page}"
            )
        if not facts["kept"]:
            raise NoFace(f"{folder.path}: no face is good enough; look at {folder.page}, change the limits")
    frame.leave()


class _Run:
    """A set in the making. seen: the names of every picture that gave faces, by sha256."""

    def __init__(self, recipe: Recipe, size: int, options: DatasetOptions, journal: Journal, frame: Frame) -> None:
        self.recipe, self.size, self.options, self.journal, self.frame = recipe, size, options, journal, frame
        self.seen: dict[str, list[str]] = {}

    def take_all(self, gathered: Gathered) -> None:
        """Make what is not made yet; afterwards the journal knows every picture."""
        folder, journal = self.recipe.folder, self.journal
        if not journal.continued:
            folder.clear_incoming()
        there = folder.names()
        whole = (d for d, record in journal.records.items() if all(f["name"] in there for f in record["faces"]))
        recipe = replace(self.recipe, known=frozenset(whole))
        journal.open(recipe.known)
        try:
            for name, error in gathered.refused:
                self.frame.failed(name, error)
            since = time.perf_counter()
            with console.bars(gathered.count, quiet=self.frame.files.quiet) as bars:
                for item, outcome in self._made(gathered.items, recipe):
                    bars.show_item(item.name, len(self.frame.report.results))
                    self._take(item, outcome, time.perf_counter() - since)
                    since = time.perf_counter()
        finally:
            journal.close()

    def _made(self, items: Sequence[Item], recipe: Recipe) -> Iterator[tuple[Item, Outcome | Exception]]:
        """The faces of each picture, made here or on a cluster."""
        cluster, jobs = self.options.cluster, self.options.jobs
        if not cluster or not items:
            return make_all(items, recipe, jobs or _cores())
        return make_on_cluster(items, recipe, cluster, console.silent if self.frame.files.quiet else console.note)

    def _take(self, item: Item, outcome: Outcome | Exception, seconds: float) -> None:
        """Note what became of a picture."""
        if isinstance(outcome, Exception):
            self.frame.failed(item.name, outcome)
            return
        digest, error, known = outcome.sha256, outcome.error, outcome.faces is None
        if digest and not known and (error is None or isinstance(error, NoFace)):
            self.journal.add(as_record(digest, outcome.faces or (), error))
        if digest and known and "no_face" in self.journal.records[digest]:
            error = NoFace(self.journal.records[digest]["no_face"])
        if error or not digest:
            self._failed(item.name, error or NoFace("no face found"))
            return
        self.seen.setdefault(digest, []).append(item.name)
        names = [face["name"] for face in self.journal.records[digest]["faces"]]
        status = "skipped" if known else "done"
        self.frame.report.add(item.name, status, names, seconds, {"faces": len(names)})
        if self.frame.files.verbose:
            console.note(f"{item.name}: {status}, {len(names)} faces")

    def _failed(self, name: str, error: Exception) -> None:
        """Record a failure; that there is no face on a picture of many is worth a line only where lines are asked for.

        Raises OutputNotWritable, which every picture would meet.
        """
        files = self.frame.files
        if isinstance(error, OutputNotWritable):
            self.frame.report.add_failure(name, error)
            raise error
        if isinstance(error, NoFace) and self.frame.planned > 1 and not (files.verbose or files.fail_fast):
            self.frame.report.add_failure(name, NoFace(f"{name}: {error}"))
            return
        self.frame.failed(name, error)

    def judged(self, keep: frozenset[str] | None, drop: frozenset[str] | None) -> dict[str, Verdict]:
        """The verdict on every face of the pictures that were given; raises UsageError for lists of other faces."""
        faces = [Measured(**face) for digest in self.seen for face in self.journal.records[digest]["faces"]]
        options = self.options
        least_px = options.min_size or self.size * LEAST_SIDE_FRAC
        verdicts = judge(faces, Limits(least_px, options.max_blur, options.min_score, options.max_bits))
        for option, names in (("--keep", keep), ("--drop", drop)):
            if unknown := sorted((names or frozenset()) - verdicts.keys()):
                raise UsageError(f"{option}: {unknown[0]} is no face of this set ({len(unknown)} such); check the list")
        return with_lists(verdicts, keep, drop)

    def finish(self, verdicts: dict[str, Verdict]) -> dict[str, Any]:
        """Put every face in its place, write what shows them; returns the summary's facts."""
        rows = []
        for digest, names in self.seen.items():
            for face in self.journal.records[digest]["faces"]:
                verdict = verdicts[face["name"]]
                decision = "keep" if verdict.kept else "put aside"
                told = {"decision": decision, "reasons": list(verdict.reasons), "twin": verdict.twin}
                rows.append({**face, "sources": sorted(names), **told})
        reasons = Counter(row["reasons"][0] for row in rows if row["reasons"])
        facts = {
            "kept": sum(not row["reasons"] for row in rows),
            "put_aside": dict(sorted(reasons.items())),
            "same_file": sum(len(names) - 1 for names in self.seen.values()),
        }
        about = {"refacer": __version__, "size": self.size, "limits": self.options.limits, **facts}
        failed = [line for line in self.frame.report.results if line["status"] == "failed"]
        failures = [{"source": line["input"], "error": line["error"]} for line in failed]
        self.recipe.folder.finish(
            about, sorted(rows, key=itemgetter("name")), sorted(failures, key=itemgetter("source"))
        )
        return facts


def _folder(files: FileOptions) -> DatasetFolder:
    """The folder of the set; raises UsageError for none, OutputNotWritable for one that holds something else."""
    if files.output in (None, "-"):
        raise UsageError("a data set is a folder; name one with -o")
    folder = Path(str(files.output))
    if folder.suffix.lower() == ".zip" or folder.is_file():
        raise UsageError(f"-o {folder}: a data set is a folder, the zip lies in it; name a folder")
    foreign = folder.is_dir() and any(path.name != LOCK for path in folder.iterdir())
    if foreign and not (folder / DATASET_JOURNAL).is_file() and not files.force:
        raise OutputNotWritable(f"{folder}: exists and is not a data set of refacer's; choose another folder")
    return DatasetFolder(folder)


def _recipe(folder: DatasetFolder, options: DatasetOptions) -> Recipe:
    """How faces are made. Raises UsageError for a device that is not there, WeightsMissing for an unknown pair."""
    size = options.size or Equipment(options.pair).resolution
    choices = Choices(size=size, detector=options.detector, min_size=LEAST_FOUND_PX, max_pixels=options.max_pixels)
    # each process would take a share of a GPU's memory, so that one must be asked for
    return Recipe(folder, choices, "cpu" if options.device == "auto" else options.device)


def _named(paths: Sequence[Path]) -> frozenset[str] | None:
    """The faces that text files name; None for no file."""
    return frozenset(name for path in paths for name in read_list(path)) if paths else None


def _cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
