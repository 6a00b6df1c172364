"""`refacer project`: face -> W+ codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from refacer.device import one_thread
from refacer.engine import Refacer
from refacer.files import READABLE
from refacer.files.artefacts import Face
from refacer.inverters.method import chosen_method
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.report import Lines
from refacer.jobs.runner import Outcome, Work, passport_of, run_plan
from refacer.options import Call, GeneratorRole
from refacer.types import Progress

ADVICE = "lower --batch, choose a pair of a lower resolution, or use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call, into: GeneratorRole, trace: Path | None) -> None:
    """Project every face; in a folder only those whose codes are not up to date."""
    plan = make_plan(inputs, call.files.output, Kind(READABLE, ".npy", (".npy",)), extra=[call.files.report, trace])
    studio = Refacer.of(call)
    chosen_method(studio.equipment, into).check()  # what does not fit is met once, not in every item
    skips = plan.keeps(force=call.files.force)
    with Lines(trace, "--trace") as lines:
        projecting = Projecting(studio, into, skips, lines)
        in_turn = trace is not None or call.choices.batch > 1  # lines of faces in turn, or faces together
        at_once = 1 if in_turn else studio.equipment.at_once(inverts=True)
        facts, batch = studio.equipment.facts, call.choices.batch
        work = Work(projecting.load, projecting.process, ADVICE, batch, facts, side_by_side=at_once)
        with one_thread(at_once > 1 and plan.count > 1):
            run_plan(plan, work, call.files)


@dataclass(frozen=True)
class Projecting:
    """Read faces and project them, several at once."""

    studio: Refacer
    into: GeneratorRole
    skips: bool
    trace: Lines
    reading: Lock = field(default_factory=Lock)

    def load(self, item: Item) -> Face | None:
        """A face; None where its codes are up to date."""
        face = Face(self.studio.read(item.read()), item.name)
        done = passport_of(item.output) if self.skips and item.output else None
        return None if done == self.studio.records.projected_passport(face, self.into) else face

    def process(self, faces: list[Face], progress: Progress) -> list[Outcome]:
        """The codes of up to `batch` faces."""
        with self.reading:  # networks are read once, whoever comes first
            _ = self.studio.equipment.generator(self.into)
            chosen_method(self.studio.equipment, self.into).inverter()
        outcomes = []
        for face, found in zip(faces, self.studio.project_all(faces, into=self.into, progress=progress), strict=True):
            for row in found.trace:
                self.trace.write({"input": face.name, **row})
            outcomes.append(Outcome({None: found.encode()}, facts={"distance": found.distance}))
        return outcomes
