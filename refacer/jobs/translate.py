"""`refacer translate`: face -> realistic face, without inversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer import console
from refacer.engine import Refacer
from refacer.files import READABLE
from refacer.files.artefacts import Face
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work, passport_of
from refacer.options import Call
from refacer.types import Progress

ADVICE = "give a smaller face, or use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call) -> None:
    """Translate every face; in a folder only those whose translations are not up to date."""
    kind = Kind(READABLE, ".png", (".png",), makes=("translate",))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report])
    studio = Refacer.of(call)
    studio.equipment.require("translator")
    work = Translating(studio, plan.keeps(force=call.files.force), call.files.quiet)
    run_plan(plan, Work(work.load, work.process, ADVICE, facts=studio.equipment.facts), call.files)


@dataclass(frozen=True)
class Translating:
    """Read faces and translate them."""

    studio: Refacer
    skips: bool
    quiet: bool

    def load(self, item: Item) -> Face | None:
        """A face; None where its translation is up to date."""
        face = Face(self.studio.read(item.read()), item.name)
        done = passport_of(item.output) if self.skips and item.output else None
        return None if done == self.studio.records.translated_passport(face) else face

    def process(self, faces: list[Face], _progress: Progress) -> list[Outcome]:
        """The realistic faces, with a word on those that are unlike what the network knows."""
        return [self._translated(face) for face in faces]

    def _translated(self, face: Face) -> Outcome:
        apart, limit = self.studio.strangeness(face), self.studio.equipment.translator_limit
        if limit is not None and apart > limit and not self.quiet:
            told = f"{face.name}: is unlike the faces that the pair knows ({apart:.3g}, most are below {limit:.3g})"
            console.warn(f"{told}; look at the result")
        return Outcome({None: self.studio.translate(face).encode()}, facts={"distance": apart})
