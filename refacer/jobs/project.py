"""`refacer project`: face -> W+ codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from refacer.commands.shared import Common, ProjectFlags
from refacer.errors import PassportMismatch, ShapeMismatch
from refacer.files import SUFFIXES, Source, encode_codes, read_codes
from refacer.jobs.passports import Records, own_passport
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.report import Lines
from refacer.jobs.runner import Outcome, Work, passport_of, run_plan
from refacer.jobs.session import Session
from refacer.options import GeneratorRole, ProjectOptions
from refacer.stages.pipeline import project_each
from refacer.stages.project import Projection
from refacer.types import Codes, Passport, Progress

ADVICE = "lower --batch, choose a pair of a lower resolution, or use --device cpu"


def main(
    inputs: Sequence[Path] | None, flags: ProjectFlags, into: GeneratorRole, trace: Path | None, common: Common
) -> None:
    """Project every face; in a folder only those whose codes are not up to date."""
    plan = make_plan(inputs, common.output, Kind(SUFFIXES, ".npy", (".npy",)), extra=[common.report, trace])
    session = Session(common, flags.perceptual)
    session.require(into, perceptual=True)
    options = session.project_options(flags, into)
    skips = plan.folder is not None and not common.force
    with Lines(trace, "--trace") as lines:
        projecting = Projecting(session, options, read_init(flags.init, session), flags.batch, skips, lines)
        work = Work(projecting.load, projecting.process, ADVICE, flags.batch, session.facts)
        run_plan(plan, work, common)


@dataclass(frozen=True)
class Face:
    """A face to project, and the passport its codes will carry."""

    name: str
    source: Source
    passport: Passport


@dataclass(frozen=True)
class Projecting:
    """Read faces and project them, several at once."""

    session: Session
    options: ProjectOptions
    init: Codes | None
    batch: int
    skips: bool
    trace: Lines

    def load(self, item: Item) -> Face | None:
        """A face; None where its codes are up to date."""
        source = square(self.session.read(item), item.name)
        record = Records(self.session).project(self.options, source.info, self.init)
        passport = face_passport(source, item.name).with_stage(record)
        if self.skips and item.output and passport_of(item.output) == passport:
            return None
        return Face(item.name, source, passport)

    def process(self, faces: list[Face], progress: Progress) -> list[Outcome]:
        """The codes of up to `batch` faces."""
        session = self.session
        projections = project_each(
            [session.tensor(face.source) for face in faces], session.generator(self.options.into), session.perceptual,
            session.pair.w_std, self.options, batch=self.batch, init=codes_tensor(self.init, session.device),
            progress=progress,
        )  # fmt: skip
        return [self._outcome(face, found) for face, found in zip(faces, projections, strict=True)]

    def _outcome(self, face: Face, found: Projection) -> Outcome:
        for row in found.trace:
            self.trace.write({"input": face.name, **row})
        codes = encode_codes(codes_array(found.codes), face.passport)
        return Outcome({None: codes}, facts={"distance": float(found.distance[0])})


def square(source: Source, name: str) -> Source:
    """Refuse what is no aligned face."""
    height, width = source.native.shape[:2]
    if height != width:
        raise ShapeMismatch(f"{name}: is {width}x{height}, a face is square; cut it out with `refacer align`")
    return source


def face_passport(source: Source, name: str) -> Passport:
    """The passport that travels with a face, or its own."""
    passport = source.passport or own_passport(source.info)
    if len(passport.faces) != 1:
        raise PassportMismatch(f"{name}: is a picture of {len(passport.faces)} faces; cut one out with `refacer align`")
    return passport


def read_init(init: str, session: Session) -> Codes | None:
    """The code to start from; None for the average. Raises ShapeMismatch where it is not one code of this pair."""
    if init == "mean":
        return None
    codes, _ = read_codes(Path(init))
    pair = session.pair
    if codes.shape != (1, pair.num_ws, pair.w_dim):
        raise ShapeMismatch(f"--init {init}: shape {codes.shape}; this pair takes (1, {pair.num_ws}, {pair.w_dim})")
    return codes


def codes_tensor(codes: Codes | None, device: torch.device) -> torch.Tensor | None:
    """Codes on the device."""
    return None if codes is None else torch.from_numpy(codes).to(device)


def codes_array(codes: torch.Tensor) -> Codes:
    """Codes as they are stored."""
    return codes.float().cpu().numpy()
