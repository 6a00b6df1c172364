"""`refacer parse`: face -> mask or label PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer.commands.shared import Common, ParseFlags
from refacer.files import SUFFIXES, Source, encode_labels, encode_mask
from refacer.images.pixels import array_from_labels
from refacer.jobs.passports import Records
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.project import face_passport, square
from refacer.jobs.runner import Outcome, Work, run_plan
from refacer.jobs.session import Session
from refacer.options import ParseOptions
from refacer.stages.parse import mask_from_labels, parse
from refacer.types import Passport, Progress

ADVICE = "use --device cpu"
Face = tuple[Source, Passport]


def main(inputs: Sequence[Path] | None, flags: ParseFlags, labels: bool, common: Common) -> None:
    """Parse every face."""
    plan = make_plan(inputs, common.output, Kind(SUFFIXES, ".png", (".png",)), extra=[common.report])
    session = Session(common, parsing=flags.parser)
    session.require(parser=True)
    parsing = Parsing(session, flags.options(), labels)
    run_plan(plan, Work(parsing.load, parsing.process, ADVICE, facts=parsing.session.facts), common)


@dataclass(frozen=True)
class Parsing:
    """Read faces and find their parts."""

    session: Session
    options: ParseOptions
    labels: bool

    def load(self, item: Item) -> Face:
        """A face and its passport."""
        source = square(self.session.read(item), item.name)
        return source, face_passport(source, item.name)

    def process(self, faces: list[Face], _progress: Progress) -> list[Outcome]:
        """The mask or the labels of each face."""
        return [Outcome({None: self._encoded(source, passport)}) for source, passport in faces]

    def _encoded(self, source: Source, passport: Passport) -> bytes:
        labels = parse(self.session.tensor(source), self.session.parser)
        records = Records(self.session)
        if self.labels:
            return encode_labels(array_from_labels(labels[0]), passport.with_stage(records.labels()))
        mask = mask_from_labels(labels, self.options.classes)[0]
        return encode_mask(array_from_labels(mask) > 0, passport.with_stage(records.parse(self.options)))
