"""`refacer run`: picture -> picture, all stages at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer import console
from refacer.engine import Refacer, Stages
from refacer.files import READABLE, SUFFIXES, Source
from refacer.jobs.display import outcome_of
from refacer.jobs.parse import warn_of_borrowed_parser
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import Outcome, Work, passport_of, run_plan
from refacer.options import Call
from refacer.records import like
from refacer.types import Passport, Progress, SourceInfo

ADVICE = "give a smaller picture, lower --batch, choose a pair of a lower resolution, or use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call, keep_stages: Path | None) -> None:
    """Treat every picture; in a folder only those that are not up to date."""
    kind = Kind(READABLE, ".png", SUFFIXES, makes=("composite", "left"))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report], skip=keep_stages)
    studio = Refacer.of(call)
    studio.check()
    if call.choices.mask == "auto":
        warn_of_borrowed_parser(studio, quiet=call.files.quiet)
    running = Running(studio, plan.keeps(force=call.files.force), call.files.quiet, keep_stages)
    run_plan(plan, Work(running.load, running.process, ADVICE, facts=studio.equipment.facts), call.files)


@dataclass(frozen=True)
class Loaded:
    """A picture that is due."""

    item: Item
    source: Source


@dataclass(frozen=True)
class Running:
    """Read pictures and treat their faces."""

    studio: Refacer
    skips: bool
    quiet: bool
    keep_stages: Path | None

    def load(self, item: Item) -> Loaded | None:
        """A picture; None where its output is up to date."""
        source = self.studio.read(item.read())
        done = passport_of(item.output) if self.skips and item.output else None
        return None if done and self._is_current(done, source.info) else Loaded(item, source)

    def process(self, loaded: list[Loaded], progress: Progress) -> list[Outcome]:
        """The finished pictures."""
        return [self._finish(one, progress) for one in loaded]

    def _finish(self, one: Loaded, progress: Progress) -> Outcome:
        result = self.studio.run(one.source, progress=progress)
        extras = dict(_artefacts(self.keep_stages / one.item.key, result.faces)) if self.keep_stages else {}
        left = [stages.face.passport.faces[0].index for stages in result.faces if stages.left]
        for stages in result.faces if left and not self.quiet else ():
            if stages.left:
                self._tell_of_left(one.item.name, stages)
        facts = {"faces": len(result.faces), "left": left, "distance": [face.apart for face in result.faces]}
        return outcome_of(result.display, one.item.output, extras=extras, facts=facts)

    def _tell_of_left(self, name: str, stages: Stages) -> None:
        """One line about a face that stayed as it was."""
        index, limit = stages.face.passport.faces[0].index, self.studio.equipment.limit
        told = (
            f"{name}: face {index} is unlike those that the pair knows ({stages.apart:.3g}, most are below {limit:.3g})"
        )
        console.warn(f"{told}; it is left as it was, --range ignore changes it")

    def _is_current(self, done: Passport, source: SourceInfo) -> bool:
        """Whether a finished picture is what this call would make of its source."""
        if done.source != source or not done.faces:
            return False
        studio, count = self.studio, done.faces[0].count
        size = studio.equipment.crop_px
        both = [studio.records.history(count, SourceInfo(size, size, ""), left=left) for left in (False, True)]
        if not all(any(like(face.stages, history) for history in both) for face in done.faces):
            return False
        chosen = [face.index for face in done.faces]
        return studio.records.would_choose(chosen, count, studio.equipment.options.faces)


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
