"""`refacer project`: face -> W+ codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

from refacer.device import one_thread
from refacer.engine import Refacer
from refacer.errors import UsageError
from refacer.files import READABLE
from refacer.files.artefacts import Face
from refacer.inverters.method import chosen_method
from refacer.jobs.farm import NETWORKS_ELSEWHERE, farm_of
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.report import Lines
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work, passport_of
from refacer.options import Call, GeneratorRole
from refacer.types import Progress, SourceInfo, StageRecord

ADVICE = "lower --batch, choose a pair of a lower resolution, or use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call, into: GeneratorRole, trace: Path | None) -> None:
    """Project every face; in a folder only those whose codes are not up to date."""
    plan = make_plan(inputs, call.files.output, Kind(READABLE, ".npy", (".npy",)), extra=[call.files.report, trace])
    if call.cluster and trace:
        raise UsageError("--trace: its lines are written where the work is done; leave out --cluster")
    job = Job(call, into, plan.keeps(force=call.files.force))
    studio = job.studio(NETWORKS_ELSEWHERE if call.cluster else call.device)
    farm = farm_of(call, job, studio.equipment, inverts=True)
    with Lines(trace, "--trace") as lines:
        work = job.work(studio, None if trace is None else lines)
        with one_thread(work.side_by_side > 1 and plan.count > 1):
            run_plan(plan, work, call.files, farm)


@dataclass(frozen=True)
class Job:
    """All that was typed and planned; gives the same work on every machine."""

    call: Call
    into: GeneratorRole
    skips: bool

    def __call__(self, device: str) -> Work[Face]:
        """The work, on a device."""
        return self.work(self.studio(device))

    def studio(self, device: str) -> Refacer:
        """The pair at work; what does not fit is met once, not in every item."""
        studio = Refacer.of(replace(self.call, device=device))
        chosen_method(studio.equipment, self.into).check()
        return studio

    def work(self, studio: Refacer, trace: Lines | None = None) -> Work[Face]:
        """The work with a pair. trace: gets a line a step."""
        projecting, batch = Projecting(studio, self.into, self.skips, trace), self.call.choices.batch
        at_once = 1 if trace else studio.equipment.at_once(inverts=True)  # lines of a trace come in turn
        return Work(
            projecting.load, projecting.process, ADVICE, batch,
            facts=studio.equipment.facts, side_by_side=at_once, signature=projecting.record,
        )  # fmt: skip


@dataclass(frozen=True)
class Projecting:
    """Read faces and project them, several at once."""

    studio: Refacer
    into: GeneratorRole
    skips: bool
    trace: Lines | None
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
            if self.trace:
                self.trace.write_all({"input": face.name, **row} for row in found.trace)
            outcomes.append(Outcome({None: found.encode()}, facts={"distance": found.distance}))
        return outcomes

    def record(self) -> StageRecord:
        """What is done to a face of the generator's size."""
        size = self.studio.equipment.resolution
        return self.studio.records.project(chosen_method(self.studio.equipment, self.into), SourceInfo(size, size, ""))
