"""`refacer run`: picture -> picture, all stages at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from refacer.commands.shared import AlignFlags, Common, CompositeFlags, DecodeFlags, ParseFlags, ProjectFlags
from refacer.errors import UsageError
from refacer.files import SUFFIXES, Source, encode_codes, encode_mask, encode_png
from refacer.images.pixels import array_from_labels, rgb_from_tensor
from refacer.jobs.align import face_record
from refacer.jobs.composite import AUTO, NONE
from refacer.jobs.display import encode_finished
from refacer.jobs.passports import LARGEST, Records, like
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.project import codes_array, codes_tensor, read_init
from refacer.jobs.runner import Outcome, Work, passport_of, run_plan
from refacer.jobs.session import Session
from refacer.stages.align import select_faces
from refacer.stages.pipeline import FaceResult, Networks, RunOptions, run
from refacer.types import Codes, FaceRecord, Passport, Progress, SourceInfo, StageRecord

ADVICE = "give a smaller picture, lower --batch, choose a pair of a lower resolution, or use --device cpu"


@dataclass(frozen=True)
class RunFlags:
    """The options of all stages."""

    aligning: AlignFlags
    projecting: ProjectFlags
    decoding: DecodeFlags
    parsing: ParseFlags
    blending: CompositeFlags
    mask: str
    keep_stages: Path | None


@dataclass(frozen=True)
class Loaded:
    """A picture that is due."""

    item: Item
    source: Source


def main(inputs: Sequence[Path] | None, flags: RunFlags, common: Common) -> None:
    """Treat every picture; in a folder only those that are not up to date."""
    kind = Kind(SUFFIXES, ".png", SUFFIXES)
    plan = make_plan(inputs, common.output, kind, extra=[common.report], skip=flags.keep_stages)
    session = Session(common, flags.projecting.perceptual, flags.parsing.parser)
    running = Running(session, flags, skips=plan.folder is not None and not common.force)
    running.check()
    run_plan(plan, Work(running.load, running.process, ADVICE, facts=session.facts), common)


@dataclass
class Running:
    """Read pictures, treat their faces, describe what was done."""

    session: Session
    flags: RunFlags
    skips: bool

    @cached_property
    def options(self) -> RunOptions:
        """The options of all stages."""
        flags, session = self.flags, self.session
        return RunOptions(
            align=flags.aligning.options(),
            project=session.project_options(flags.projecting),
            decode=session.decode_options(flags.decoding),
            parse=flags.parsing.options(),
            composite=flags.blending.options(),
            faces=flags.aligning.faces or "all",
            batch=flags.projecting.batch,
        )

    @cached_property
    def init(self) -> Codes | None:
        """The code to start from."""
        return read_init(self.flags.projecting.init, self.session)

    @cached_property
    def networks(self) -> Networks:
        """All networks, read once."""
        session = self.session
        return Networks(
            detector=session.detector(self.options.align),
            rendering=session.rendering,
            real=session.drawing_generator("real", self.flags.decoding.generator),
            perceptual=session.perceptual,
            parser=session.parser if self.flags.mask == AUTO else None,
            w_std=session.pair.w_std,
        )

    def check(self) -> None:
        """Meet what is wrong with the options before the work, not in every item."""
        _ = self.options, self.init
        drawn = () if self.flags.decoding.generator else ("real",)
        self.session.require(
            "rendering", *drawn, detector=self.options.align.detector, perceptual=True, parser=self.flags.mask == AUTO
        )
        if self.flags.decoding.generator:
            self.session.drawing_generator("real", self.flags.decoding.generator)

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return self.options.align.size or self.session.pair.resolution

    def load(self, item: Item) -> Loaded | None:
        """A picture; None where its output is up to date."""
        source = self.session.read(item)
        done = passport_of(item.output) if self.skips and item.output else None
        return None if done and self.is_current(done, source.info) else Loaded(item, source)

    def is_current(self, done: Passport, source: SourceInfo) -> bool:
        """Whether a finished picture is what this call would make of its source."""
        if done.source != source or not done.faces:
            return False
        history = self.history(done.faces[0].count, SourceInfo(self.size, self.size, ""))
        chosen = self._chosen(done.faces)
        return chosen == [face.index for face in done.faces] and all(like(face.stages, history) for face in done.faces)

    def process(self, loaded: list[Loaded], progress: Progress) -> list[Outcome]:
        """The finished pictures."""
        return [self._finish(one.item, one.source, progress) for one in loaded]

    def history(self, count: int, face: SourceInfo) -> tuple[StageRecord, ...]:
        """What the passport says about one of `count` faces, stage by stage."""
        records, options, masked = Records(self.session), self.options, self.flags.mask == AUTO
        parsed = (records.parse(options.parse),) if masked else ()
        return (
            records.align(options.align, self.size, faces=options.faces, count=count),
            records.project(options.project, face, self.init),
            records.decode(options.decode, self.flags.decoding.generator),
            *parsed,
            records.composite(options.composite, None if masked else NONE),
        )

    def _chosen(self, faces: Sequence[FaceRecord]) -> list[int]:
        """The faces that --faces would choose again; 'largest' is told by the align record."""
        if self.options.faces == LARGEST:
            return [faces[0].index]
        try:
            return select_faces([()] * faces[0].count, self.options.faces)
        except UsageError:
            return []

    def _finish(self, item: Item, source: Source, progress: Progress) -> Outcome:
        session = self.session
        results = run(
            session.tensor(source), self.networks, self.options, canvas=session.canvas(source),
            init=codes_tensor(self.init, session.device), progress=progress,
        )  # fmt: skip
        faces = [self._record(result) for result in results]
        data, extras = encode_finished(source, [result.blend for result in results], faces, item.output)
        if self.flags.keep_stages:
            extras |= artefacts(self.flags.keep_stages / item.key, source.info, results, faces)
        distances = [float(result.projection.distance[0]) for result in results]
        return Outcome({None: data}, extras, {"faces": len(faces), "distance": distances})

    def _record(self, result: FaceResult) -> FaceRecord:
        face = Source(rgb_from_tensor(result.face)).info
        align, *rest = self.history(result.found.count, face)
        record = face_record(result.found, self.size, align)
        return replace(record, stages=(align, *rest))


def artefacts(
    base: Path, source: SourceInfo, results: Sequence[FaceResult], faces: Sequence[FaceRecord]
) -> dict[Path, bytes]:
    """What the single commands would have written, by path: base.face.png, or base.0.face.png of several faces."""
    files: dict[Path, bytes] = {}
    for result, record in zip(results, faces, strict=True):
        name = base.name if len(results) == 1 else f"{base.name}.{result.found.index}"
        for suffix, data in _stage_files(result, source, record):
            files[base.with_name(f"{name}.{suffix}")] = data
    return files


def _stage_files(result: FaceResult, source: SourceInfo, record: FaceRecord) -> Iterator[tuple[str, bytes]]:
    """Suffix and content of each artefact, with the passport as it was after that stage."""

    def passport(stages: int) -> Passport:
        return Passport(source, (replace(record, stages=record.stages[:stages]),))

    yield "face.png", encode_png(rgb_from_tensor(result.face), passport(1))
    yield "codes.npy", encode_codes(codes_array(result.projection.codes), passport(2))
    yield "real.png", encode_png(rgb_from_tensor(result.real), passport(3))
    if result.mask is not None:
        yield "mask.png", encode_mask(array_from_labels(result.mask[0]) > 0, passport(4))
