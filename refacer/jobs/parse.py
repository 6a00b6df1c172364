"""`refacer parse`: face -> mask or label PNG."""

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

ADVICE = "use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call, labels: bool) -> None:
    """Parse every face; in a folder only those whose masks are not up to date."""
    kind = Kind(READABLE, ".png", (".png",), makes=("parse",))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report])
    studio = Refacer.of(call)
    studio.equipment.require(parser=True)
    warn_of_borrowed_parser(studio, quiet=call.files.quiet)
    parsing = Parsing(studio, labels, plan.keeps(force=call.files.force))
    run_plan(plan, Work(parsing.load, parsing.process, ADVICE, facts=studio.equipment.facts), call.files)


def warn_of_borrowed_parser(studio: Refacer, *, quiet: bool) -> None:
    """Say that another pair's parser serves, where it does."""
    if studio.equipment.borrows_parser() and not quiet:
        name = studio.equipment.pair.name
        console.warn(f"pair {name} has no parser, the default pair's is used; bisenet would be better")


@dataclass(frozen=True)
class Parsing:
    """Read faces and find their parts."""

    studio: Refacer
    labels: bool
    skips: bool

    def load(self, item: Item) -> Face | None:
        """A face; None where its mask is up to date."""
        face = Face(self.studio.read(item.read()), item.name)
        done = passport_of(item.output) if self.skips and item.output else None
        return None if done == self.studio.records.parsed_passport(face, classes=self.labels) else face

    def process(self, faces: list[Face], _progress: Progress) -> list[Outcome]:
        """The mask or the labels of each face."""
        work = self.studio.parse_classes if self.labels else self.studio.parse
        return [Outcome({None: work(face).encode()}) for face in faces]
