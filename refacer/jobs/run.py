"""`refacer run`: picture -> picture, all stages at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from refacer.device import free_memory, one_thread
from refacer.engine import Refacer, Stages
from refacer.errors import UsageError
from refacer.files import READABLE, SUFFIXES, Source
from refacer.jobs.ahead import Room
from refacer.jobs.display import outcome_of
from refacer.jobs.farm import NETWORKS_ELSEWHERE, farm_of
from refacer.jobs.identity import FaceIdentity
from refacer.jobs.parse import warn_of_borrowed_parser
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.sequence import Sequencer, in_natural_order
from refacer.jobs.turns import Outcome, Work, passport_of
from refacer.jobs.views import Sizes, View, views_of_files
from refacer.options import Call
from refacer.records import like
from refacer.stages.guided import Guided
from refacer.stages.inversion import Inversion
from refacer.stages.pipeline import Found
from refacer.types import Passport, Progress, SourceInfo, StageRecord

BYTES_A_PIXEL = 120
"""Memory that a picture takes while it is worked on, at most."""

ADVICE = "give a smaller picture, lower --batch, choose a pair of a lower resolution, or use --device cpu"


def main(
    inputs: Sequence[Path] | None,
    call: Call,
    keep_stages: Path | None,
    *,
    identity: bool = False,
    sequence: bool = False,
) -> None:
    """Treat every picture; in a folder only those that are not up to date. sequence: they are frames of one."""
    kind = Kind(READABLE, ".png", SUFFIXES, makes=("composite", "left"))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report], skip=keep_stages)
    if call.cluster and sequence:
        raise UsageError("--sequence: its frames are looked at together; leave out --cluster")
    job = Job(call, plan.keeps(force=call.files.force), keep_stages, identity)
    studio = job.studio(NETWORKS_ELSEWHERE if call.cluster else call.device)
    if call.choices.mask == "auto":
        warn_of_borrowed_parser(studio, quiet=call.files.quiet)
    frames = None
    if sequence:
        plan = in_natural_order(plan)
        frames = Sequencer(studio, plan.items, plan.folder, at_once=at_once(studio), quiet=call.files.quiet)
    work = job.work(studio, frames)
    farm = farm_of(call, job, studio.equipment, inverts=inverts(studio))
    try:
        with one_thread(work.side_by_side > 1 and plan.count > 1):
            run_plan(plan, work, call.files, farm)
    finally:
        if frames:
            frames.tidy()


def inverts(studio: Refacer) -> bool:
    """Whether pictures are inverted."""
    return studio.equipment.way == "project"


def at_once(studio: Refacer) -> int:
    """Pictures that are worked on at once."""
    return studio.equipment.at_once(inverts=inverts(studio))


@dataclass(frozen=True)
class Job:
    """All that was typed and planned; gives the same work on every machine."""

    call: Call
    skips: bool
    keep_stages: Path | None
    identity: bool

    def __call__(self, device: str) -> Work[Loaded]:
        """The work, on a device."""
        return self.work(self.studio(device))

    def studio(self, device: str) -> Refacer:
        """The pair at work; what is missing is met here."""
        studio = Refacer.of(replace(self.call, device=device))
        studio.check()
        return studio

    def work(self, studio: Refacer, frames: Sequencer | None = None) -> Work[Loaded]:
        """The work with a pair. frames: where they are those of a sequence."""
        measure = FaceIdentity(studio) if self.identity else None
        running = Running(studio, self.skips, self.call.files.quiet, self.keep_stages, measure, frames)
        _ = running.settled  # before any frame is written
        batch = self.call.choices.batch if inverts(studio) and frames is None else 1
        return Work(
            running.load, running.process, ADVICE, batch,
            facts=running.facts, shown=running.shown, side_by_side=at_once(studio), signature=running.history,
        )  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A picture that is due, and its faces; guided: those of a frame of a sequence."""

    item: Item
    source: Source
    found: list[Found] = field(default_factory=list)
    guided: list[Guided] | None = None


@dataclass(frozen=True)
class Running:
    """Read pictures and treat their faces. identity: what compares each face before and after, where that is wanted."""

    studio: Refacer
    skips: bool
    quiet: bool
    keep_stages: Path | None
    identity: FaceIdentity | None = None
    frames: Sequencer | None = None
    room: Room = field(default_factory=lambda: Room(free_memory() // 2))
    reading: Lock = field(default_factory=Lock)

    def load(self, item: Item) -> Loaded | None:
        """A picture and its faces; None where its output is up to date."""
        source = self.frames.kept.source(item) if self.frames else self.studio.read(item.read())
        done = passport_of(item.output) if self.skips and item.output else None
        if done and self._is_current(done, source.info):
            return None
        with self.reading:  # networks are read once, whoever comes first
            self.studio.networks()
            if self.frames:
                guided = self.frames.faces(item)
                self.frames.kept.let_go(item)
                return Loaded(item, source, guided=guided)
        return Loaded(item, source, self.studio.find(source))

    def process(self, loaded: list[Loaded], progress: Progress) -> list[Outcome]:
        """The finished pictures; where they are inverted, small faces of several share batches."""
        together: Sequence[Sequence[Inversion] | None] = [None] * len(loaded)
        if len(loaded) > 1:
            together = self.studio.invert_together([(one.source, one.found) for one in loaded], progress)
        return [self._finish(one, found, progress) for one, found in zip(loaded, together, strict=True)]

    def shown(self, item: Item, sizes: Sizes) -> list[View]:
        """What a page shows of a picture that is up to date."""
        if item.path is None or item.output is None:
            return []
        return views_of_files(item.path, item.output, sizes, max_pixels=self.studio.choices.max_pixels)

    def facts(self) -> dict[str, Any]:
        """What the report says in the end: what was used, and the settings of every stage."""
        equipment = self.studio.equipment
        stages = [{"stage": one.stage, "parameters": dict(one.parameters), "seed": one.seed} for one in self.history()]
        return {**equipment.facts(), "way": equipment.way, "stages": stages}

    def history(self) -> tuple[StageRecord, ...]:
        """What is done to the face of a picture that has one."""
        return self.studio.records.as_now(1)

    def _finish(self, one: Loaded, inversions: Sequence[Inversion] | None, progress: Progress) -> Outcome:
        height, width = one.source.native.shape[:2]
        with self.room.taken(height * width * BYTES_A_PIXEL):
            if self.frames and one.guided is not None:
                result = self.studio.run_frame(one.source, one.guided, self.frames.record)
            else:
                result = self.studio.run(one.source, found=one.found, inversions=inversions, progress=progress)
        extras = dict(_artefacts(self.keep_stages / one.item.key, result.faces)) if self.keep_stages else {}
        indices = [stages.face.passport.faces[0].index for stages in result.faces]
        left = [index for index, stages in zip(indices, result.faces, strict=True) if stages.left]
        facts: dict[str, Any] = {
            "faces": len(result.faces), "indices": indices, "left": left,
            "distance": [face.apart for face in result.faces], "limit": self.studio.equipment.limit,
        }  # fmt: skip
        if self.identity:
            facts["identity"] = [None if face.left else self.identity.of(face) for face in result.faces]
        outcome = outcome_of(result.display, one.item.output, extras=extras, facts=facts)
        told = [self._told_of_left(one.item.name, stages) for stages in result.faces if stages.left and not self.quiet]
        if not result.faces and not self.quiet:
            told.append(f"{one.item.name}: no face is followed through this frame; it is left as it was")
        return replace(outcome, warnings=[*told, *outcome.warnings])

    def _told_of_left(self, name: str, stages: Stages) -> str:
        """One line about a face that stayed as it was."""
        index, limit = stages.face.passport.faces[0].index, self.studio.equipment.limit
        told = (
            f"{name}: face {index} is unlike those that the pair knows ({stages.apart:.3g}, most are below {limit:.3g})"
        )
        return f"{told}; it is left as it was, --range ignore changes it"

    def _is_current(self, done: Passport, source: SourceInfo) -> bool:
        """Whether a finished picture is what this call would make of its source."""
        if done.source != source or not done.faces:
            return done.source == source and self.settled
        if not self._is_as_now(done):
            return False
        if self.frames:
            return True
        chosen, count = [face.index for face in done.faces], done.faces[0].count
        return self.studio.records.would_choose(chosen, count, self.studio.equipment.options.faces)

    @cached_property
    def settled(self) -> bool:
        """Whether all frames of a sequence that were written with a face are as they would be now. Then those that
        were written without one are, too: no face of its own says so."""
        items = self.frames.items if self.frames and self.skips else ()
        passports = [passport_of(item.output) for item in items if item.output]
        known = [passport for passport in passports if passport and passport.faces]
        return bool(known) and all(map(self._is_as_now, known))

    def _is_as_now(self, done: Passport) -> bool:
        """Whether the faces of a finished picture went through what this call would do to them."""
        records, count = self.studio.records, done.faces[0].count
        further = (self.frames.record,) if self.frames else ()
        both = [(*records.as_now(count, left=left), *further) for left in (False, True)]
        return all(any(like(face.stages, history) for history in both) for face in done.faces)


def _artefacts(base: Path, faces: Sequence[Stages]) -> Iterator[tuple[Path, bytes]]:
    """What the single commands would have written: base.face.png, or base.0.face.png of several faces."""
    for stages in faces:
        index = stages.face.passport.faces[0].index
        name = base.name if len(faces) == 1 else f"{base.name}.{index}"
        yield base.with_name(f"{name}.face.png"), stages.face.encode()
        if stages.latents is not None:
            yield base.with_name(f"{name}.codes.npy"), stages.latents.encode()
        yield base.with_name(f"{name}.real.png"), stages.real.encode()
        if stages.mask is not None:
            yield base.with_name(f"{name}.mask.png"), stages.mask.encode()
