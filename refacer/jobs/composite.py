"""`refacer composite`: a picture and new faces -> the picture with these faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from refacer.commands.shared import Common, CompositeFlags, ParseFlags
from refacer.errors import PassportMismatch, ShapeMismatch, UsageError
from refacer.files import SUFFIXES, Source, read_mask, read_passport, read_source
from refacer.images.pixels import labels_from_array
from refacer.jobs.display import encode_finished
from refacer.jobs.passports import Records, array_sha256, is_own
from refacer.jobs.plan import STDIO, Item, Kind, make_plan, read_stdin, stdin_if_none
from refacer.jobs.project import face_passport, square
from refacer.jobs.runner import Outcome, Work, run_plan
from refacer.jobs.session import Session
from refacer.options import CompositeOptions, ParseOptions
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.pipeline import Placed, composite_all
from refacer.types import FaceRecord, Passport, Progress, SourceInfo, StageRecord

ADVICE = "give a smaller picture, or use --device cpu"
AUTO, NONE = "auto", "none"
Given = tuple[NDArray[np.bool_], Passport | None] | str
"""A mask as it was read, (M, M) and its passport, or 'auto' or 'none'."""


@dataclass(frozen=True)
class Placing:
    """Masks (files, 'auto' or 'none'), passports that override the faces', and whether other pictures are allowed."""

    masks: tuple[str, ...]
    places: tuple[Path, ...]
    allow_mismatch: bool


@dataclass(frozen=True)
class Loaded:
    """A picture, faces with their place in it, masks."""

    output: Path | None
    target: Source
    faces: list[Source]
    records: list[FaceRecord]
    masks: list[Given]


def main(
    target: Path, faces: Sequence[Path], placing: Placing, parsing: ParseFlags, blending: CompositeFlags, common: Common
) -> None:
    """Put faces into one picture."""
    faces = stdin_if_none(faces)
    if target.is_dir() or any(face.is_dir() for face in faces):
        raise UsageError("composite takes one picture and its faces; for a folder use `refacer run`")
    if str(target) == STDIO and Path(STDIO) in faces:
        raise UsageError("the picture and the face cannot both come from stdin; name one of them")
    files = [path for path in (*map(Path, placing.masks), *placing.places, *faces) if path.is_file()]
    kind = Kind(SUFFIXES, ".png", SUFFIXES)
    plan = make_plan([target], common.output, kind, extra=[common.report], also=files)
    session = Session(common, parsing=parsing.parser)
    session.require(parser=AUTO in placing.masks)
    work = Compositing(session, faces, placing, parsing.options(), blending.options())
    run_plan(plan, Work(work.load, work.process, ADVICE, facts=session.facts), common)


@dataclass(frozen=True)
class Compositing:
    """Read the picture and the faces, check that they belong together, blend."""

    session: Session
    faces: Sequence[Path]
    placing: Placing
    parsing: ParseOptions
    blending: CompositeOptions

    def load(self, item: Item) -> Loaded:
        """Everything that is read: contents first, then whether they fit."""
        target = self.session.read(item)
        faces = [self._read(path) for path in self.faces]
        masks = [self._read_mask(name) for name in self._mask_names()]
        places = [face for path in self.placing.places for face in _each(read_passport(path))]
        for face, path in zip(faces, self.faces, strict=True):
            square(face, str(path))
        records = self._placed(target.info, faces, places, item.name)
        return Loaded(item.output, target, faces, records, masks)

    def process(self, loaded: list[Loaded], _progress: Progress) -> list[Outcome]:
        """The finished picture."""
        return [self._finish(one) for one in loaded]

    def _finish(self, one: Loaded) -> Outcome:
        placed, done = [], []
        for source, record, given in zip(one.faces, one.records, one.masks, strict=True):
            face = self.session.tensor(source)
            mask, history = self._mask(given, face)
            placed.append(Placed(face, mask, record.quad))
            done.append(replace(record, stages=(*record.stages, *history)))
        blends = composite_all(self.session.canvas(one.target), placed, self.blending)
        data, extras = encode_finished(one.target, blends, done, one.output)
        return Outcome({None: data}, extras, {"faces": len(done)})

    def _read(self, path: Path) -> Source:
        data = read_stdin() if str(path) == STDIO else path
        return read_source(data, max_pixels=self.session.common.max_pixels)

    def _mask_names(self) -> list[str]:
        """One mask a face; 'auto' or 'none' goes for all."""
        names = list(self.placing.masks)
        if len(names) == 1 and names[0] in (AUTO, NONE):
            return names * len(self.faces)
        if len(names) != len(self.faces):
            raise UsageError(f"--mask: {len(names)} given for {len(self.faces)} faces; give one a face, in order")
        return names

    def _read_mask(self, name: str) -> Given:
        if name in (AUTO, NONE):
            return name
        mask, passport = read_mask(Path(name), max_pixels=self.session.common.max_pixels)
        if mask.shape[0] != mask.shape[1]:
            raise ShapeMismatch(f"--mask {name}: is {mask.shape[1]}x{mask.shape[0]}, a mask is square as its face")
        return mask, passport

    def _mask(self, given: Given, face: Tensor) -> tuple[Tensor | None, tuple[StageRecord, ...]]:
        """A mask (1, M, M) or None, and what the passport says about it and the blending."""
        records = Records(self.session)
        if given == NONE:
            return None, (records.composite(self.blending, NONE),)
        if isinstance(given, str):
            labels = parse(face, self.session.parser)
            mask = mask_from_labels(labels, self.parsing.classes)
            return mask, (records.parse(self.parsing), records.composite(self.blending))
        values, passport = given
        mask = labels_from_array(values.astype(np.uint8), self.session.device)[None] > 0
        parsed = _parse_record(passport)
        if parsed:
            return mask, (parsed, records.composite(self.blending))
        return mask, (records.composite(self.blending, array_sha256(values)),)

    def _placed(
        self, target: SourceInfo, faces: Sequence[Source], places: Sequence[Passport], name: str
    ) -> list[FaceRecord]:
        """Where each face goes; raises PassportMismatch where that is unknown or in another picture."""
        if places and len(places) != len(faces):
            raise PassportMismatch(f"--align: {len(places)} places for {len(faces)} faces; give one a face, in order")
        placed = [
            _passport_of(face, path, places[i] if places else None, target)
            for i, (face, path) in enumerate(zip(faces, self.faces, strict=True))
        ]
        for passport, path in zip(placed, self.faces, strict=True):
            if passport.source != target and not self.placing.allow_mismatch:
                raise PassportMismatch(_difference(path, passport.source, name, target))
        return [passport.faces[0] for passport in placed]


def _passport_of(face: Source, path: Path, place: Passport | None, target: SourceInfo) -> Passport:
    """A face's passport, its place overridden by another's."""
    own = face.passport and face_passport(face, str(path))
    if place:
        stages = own.faces[0].stages if own else place.faces[0].stages
        return replace(place, faces=(replace(place.faces[0], stages=stages),))
    if own is None or (is_own(own) and own.source != target):
        raise PassportMismatch(
            f"{path}: does not say where it goes; give --align and the face that `refacer align` made"
        )
    return own


def _each(passport: Passport) -> list[Passport]:
    """The faces of a passport, each in one of its own."""
    return [replace(passport, faces=(face,)) for face in passport.faces]


def _parse_record(passport: Passport | None) -> StageRecord | None:
    """The record of `refacer parse`, where a mask was made by it."""
    last = passport.faces[0].stages[-1:] if passport and passport.faces else ()
    if not last or last[0].stage != "parse":
        return None
    if "labels" in last[0].parameters:
        raise ShapeMismatch("--mask: holds labels, not a mask; leave out --labels when parsing")
    return last[0]


def _difference(path: Path, source: SourceInfo, name: str, target: SourceInfo) -> str:
    """Why a face does not belong to a picture."""
    sizes = f"{source.width}x{source.height}", f"{target.width}x{target.height}"
    how = f"{sizes[0]}, this one is {sizes[1]}" if sizes[0] != sizes[1] else "of the same size, with other pixels"
    return f"{path}: was cut from another picture than {name} ({how}); paste it nevertheless with --allow-mismatch"
