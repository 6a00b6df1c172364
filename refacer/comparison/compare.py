"""`refacer compare`: several methods on the same faces, every picture, a table, sheets and a page.

A picture is up to date where its passport says so, figures where they are of these files and networks: the same
command again goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refacer import __version__, console
from refacer.comparison.faces import ComparedFace, Place, read_faces
from refacer.comparison.folder import INPUTS, RECORD, TRUTH
from refacer.comparison.making import Due, Elsewhere, Made, made_here, worker_of
from refacer.comparison.measures import Measures
from refacer.comparison.methods import RUNS, CodeFiles, Times, Works, method_of
from refacer.comparison.page import compare_page, sheets_of
from refacer.comparison.scores import Scores, Scoring
from refacer.comparison.tables import Table
from refacer.equipment import Equipment
from refacer.errors import RefacerError, UsageError, WeightsMissing
from refacer.evaluation.evaluate import PictureSet
from refacer.files import READABLE, SUFFIXES, read_bytes, read_source, write_atomic
from refacer.files.folder_lock import FolderLock
from refacer.files.json_text import parse_json
from refacer.jobs.frame import Frame
from refacer.jobs.plan import Kind, make_plan
from refacer.jobs.turns import passport_of
from refacer.options import CompareOptions, FileOptions

STEM, TABLE, TIMES, PAGE = "table", "table.json", "times.json", "index.html"
WIDTH = 140  # the table needs it, whatever the terminal
GIVEN, KNOWN = "the input as it is", "the true photograph"


def compare(inputs: Sequence[Path], options: CompareOptions, files: FileOptions) -> None:
    """Make, measure, show, write; leaves with 1 where a face or a method failed.

    inputs: aligned faces; files.output: the folder. Raises UsageError for unknown methods and impossible folders,
    WeightsMissing where no method can work.
    """
    methods = list(dict.fromkeys(options.methods))
    for name in methods:
        _ = method_of(name)
    if files.output is None:
        raise UsageError("the results go to a folder; name it with -o")
    if unknown := [name for name in options.runs if name not in RUNS]:
        raise UsageError(f"--run {unknown[0]}=…: only {', '.join(RUNS)} have a folder of their own")
    place = Place(Path(files.output), files.force)
    plan = make_plan(inputs, f"{place.folder}/", Kind(READABLE, ".png", SUFFIXES, several=True), skip=place.folder)
    truth = PictureSet(options.truth, options.max_pixels) if options.truth else None
    against = [PictureSet(path, options.max_pixels) for path in options.against]
    # With a cluster this machine measures, where its workers may have another device.
    equipment = Equipment(options.pair, "auto" if options.cluster and options.device != "cpu" else options.device)
    # No --json for the frame: this command's is of its table.
    told = FileOptions(report=files.report, quiet=files.quiet, verbose=files.verbose, fail_fast=files.fail_fast)
    with FolderLock(place.folder, "refacer compare"), Frame(told, 0, facts=equipment.facts) as frame:
        for name, error in plan.refused:
            frame.failed(name, error)
        measures, times = Measures(equipment, options.judge), Times(place.folder / TIMES)
        workers = _workers(methods, replace(options, device=str(equipment.device)), frame)
        faces = read_faces(plan.items, truth, equipment.resolution, options.max_pixels, place, frame)
        facts = _Pictures(workers, place, times, frame).make(faces, options, equipment)
        scoring = Scoring(place, faces, measures, equipment, options, frame)
        titles = {INPUTS: GIVEN, **{name: str(worker.facts["title"]) for name, worker in workers.items()}}
        if any(face.truth is not None for face in faces):
            titles[TRUTH] = KNOWN
        scores = scoring.scores(list(titles), _kept(place.folder))
        table = scoring.table(titles, scores, times.seconds, against)
        about = {"refacer": __version__, **equipment.facts()}
        body = {**about, **table.to_json(), "faces": scores}
        record = {**about, "methods": facts, "faces": list(scores)}
        _write(place, table, body, record, options.max_pixels)
        frame.planned = len(frame.report.results)
    if not files.quiet:
        console.show(table.to_rich(), width=WIDTH)
        console.note(f"look at {place.folder / PAGE}")
    if files.json:
        console.payload_text(json.dumps(body))
    frame.leave()


def _workers(names: Sequence[str], options: CompareOptions, frame: Frame) -> dict[str, Works]:
    """The methods that can work here; those that cannot are told. Raises the error of the only one."""
    found: dict[str, Works] = {}
    for name in names:
        try:
            worker = worker_of(name, options)
            worker.check()
            if not options.cluster:
                worker.read()
        except (WeightsMissing, UsageError) as error:
            if len(names) == 1:
                raise
            frame.report.add_failure(name, error)
            console.warn(f"{name}: left out; {error}")
        else:
            found[name] = worker
    if not found:
        raise WeightsMissing("none of the methods can work here; the lines above say what each lacks")
    return found


@dataclass(frozen=True)
class _Pictures:
    """The pictures of all methods."""

    workers: Mapping[str, Works]
    place: Place
    times: Times
    frame: Frame

    def make(
        self, faces: Sequence[ComparedFace], options: CompareOptions, equipment: Equipment
    ) -> dict[str, Mapping[str, Any]]:
        """Every picture that is not up to date; returns each method's facts."""
        every = [Due(method, face) for method in self.workers for face in faces]
        due, codes = [one for one in every if self._is_due(one)], CodeFiles(self.place.folder, self.times)
        elsewhere = Elsewhere(options, self.workers, codes, equipment)
        if options.cluster and due:
            tell = console.silent if self.frame.files.quiet else console.note
            making = elsewhere.made(due, tell)
        else:
            making = made_here(due, self.workers, codes)
        waiting = set(due)
        with closing(making), console.bars(len(every), quiet=self.frame.files.quiet) as bars:
            for number, one in enumerate(every):
                bars.show_item(one.name, number)
                made = next(making)[1]() if one in waiting else None
                self._finish(one, made)
        return {name: elsewhere.facts.get(name) or _facts(worker) for name, worker in self.workers.items()}

    def _is_due(self, one: Due) -> bool:
        """Whether a picture is not up to date."""
        if self.place.force:
            return True
        return passport_of(self._path(one)) != self.workers[one.method].expected(one.face.face)

    def _path(self, one: Due) -> Path:
        return self.place.path(one.method, one.face.name)

    def _finish(self, one: Due, made: Made | None) -> None:
        """Store and report a picture; None: it is up to date."""
        try:
            if made is not None and made.error is not None:
                raise made.error
            if made is not None:
                self.place.write(self._path(one), made.data)
                self.times.take(one.name, made.seconds)
        except Exception as error:
            self.frame.failed(one.name, error)
            return
        status, took = ("skipped", 0.0) if made is None else ("done", made.took)
        self.frame.report.add(one.name, status, [str(self._path(one))], took, {})
        if self.frame.files.verbose:
            console.note(f"{one.name}: {status}")


def _facts(worker: Works) -> Mapping[str, Any]:
    """What a method used, also where nothing was left to make."""
    worker.read()
    return worker.facts


def _kept(folder: Path) -> dict[str, Any]:
    """The scores of an earlier call."""
    with suppress(RefacerError, ValueError, KeyError, TypeError):
        return dict(parse_json(read_bytes(folder / TABLE))["faces"])
    return {}


def _write(place: Place, table: Table, body: dict[str, Any], record: dict[str, Any], max_pixels: int) -> None:
    """Tables, sheets, page and record."""
    scores: Scores = body["faces"]
    pictures = {
        face: {name: read_source(place.path(name, face), max_pixels=max_pixels).rgb for name in of}
        for face, of in scores.items()
    }
    shown = {face: of for face, of in pictures.items() if of}
    written = {
        **sheets_of(shown, [row.name for row in table.rows]),
        f"{STEM}.md": table.to_markdown().encode(),
        f"{STEM}.csv": table.to_csv().encode(),
        PAGE: compare_page(table, {face: list(of) for face, of in shown.items()}),
        TABLE: json.dumps(body, indent=1).encode() + b"\n",
        RECORD: json.dumps(record, indent=1).encode() + b"\n",
    }
    for name, data in written.items():
        write_atomic(place.folder / name, data)
