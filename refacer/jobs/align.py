"""`refacer align`: picture -> a PNG of each face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer import console
from refacer.engine import Refacer
from refacer.files import READABLE, Source
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work, labelled, passport_of
from refacer.options import Call
from refacer.records import like
from refacer.types import FaceRecord, Progress

ADVICE = "give a smaller picture, lower --size, or use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call) -> None:
    """Align the chosen faces; into one file or stdout goes the largest unless another one is chosen."""
    chosen = call.choices.faces
    several = chosen is not None and chosen != "largest" and not chosen.isdigit()
    kind = Kind(READABLE, ".png", (".png",), several, makes=("align",))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report])
    studio = Refacer.of(call)
    studio.equipment.require(detector=True)
    skips = plan.keeps(force=call.files.force)
    aligning = Aligning(studio, chosen or ("all" if plan.folder else "largest"), skips, call.files.quiet)
    run_plan(plan, Work(aligning.load, aligning.process, ADVICE, facts=studio.equipment.facts), call.files)


@dataclass(frozen=True)
class Aligning:
    """Find, choose and cut faces; in a folder only of pictures whose faces are not up to date."""

    studio: Refacer
    faces: str
    skips: bool
    quiet: bool

    def load(self, item: Item) -> Source | None:
        """A picture; None where its faces are all there."""
        source = self.studio.read(item.read())
        return None if self.skips and self._is_current(item, source) else source

    def process(self, sources: list[Source], _progress: Progress) -> list[Outcome]:
        """The faces of each picture."""
        return [self._cut(source) for source in sources]

    def _cut(self, source: Source) -> Outcome:
        faces = self.studio.align(source, faces=self.faces)
        records = [face.passport.faces[0] for face in faces]
        if len(faces) < records[0].count and not self.quiet:
            console.note(f"{records[0].count} faces found, {len(faces)} taken; choose with --faces")
        encoded = {str(record.index): face.encode() for record, face in zip(records, faces, strict=True)}
        return Outcome(labelled(encoded), facts={"faces": len(faces), "faces_found": records[0].count})

    def _is_current(self, item: Item, source: Source) -> bool:
        """Whether the faces that are there are those that this call would cut from the picture."""
        there = {path: passport_of(path) for path in item.written()}
        faces = [p.faces[0] for p in there.values() if p and p.source == source.info and len(p.faces) == 1]
        return bool(faces) and len(faces) == len(there) and self._are_all(sorted(faces, key=lambda face: face.index))

    def _are_all(self, faces: list[FaceRecord]) -> bool:
        """Whether these are all the faces that --faces chooses, each cut as it would be now."""
        record = self.studio.records.align_record(self.faces, faces[0].count)
        if not all(like(face.stages, [record]) for face in faces):
            return False
        return self.studio.records.would_choose([face.index for face in faces], faces[0].count, self.faces)
