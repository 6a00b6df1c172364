"""`refacer composite`: a picture and new faces -> the picture with these faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from refacer import console
from refacer.engine import MaskChoice, Refacer
from refacer.errors import PassportMismatch, ShapeMismatch, UsageError
from refacer.files import READABLE, SUFFIXES, Source, read_passport
from refacer.files.artefacts import Face, Mask, single_passports
from refacer.jobs.display import outcome_of
from refacer.jobs.parse import warn_of_borrowed_parser
from refacer.jobs.plan import STDIO, Item, Kind, make_plan, read_stdin, stdin_if_none
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work
from refacer.options import Call
from refacer.records import placed_in
from refacer.types import Passport, Progress

ADVICE = "give a smaller picture, or use --device cpu"
AUTO: Literal["auto"] = "auto"
NONE = "none"


@dataclass(frozen=True)
class Placing:
    """Masks (files, 'auto' or 'none'), passports that override the faces', renderings that go with them, and whether
    other pictures are allowed."""

    masks: tuple[str, ...]
    places: tuple[Path, ...]
    renderings: tuple[Path, ...]
    allow_mismatch: bool


@dataclass(frozen=True)
class Loaded:
    """A picture, faces with their place in it, masks."""

    item: Item
    target: Source
    faces: list[Face]
    masks: list[MaskChoice]


def main(target: Path, faces: Sequence[Path], placing: Placing, call: Call) -> None:
    """Put faces into one picture."""
    faces = stdin_if_none(faces)
    if target.is_dir() or any(face.is_dir() for face in faces):
        raise UsageError("composite takes one picture and its faces; for a folder use `refacer run`")
    if str(target) == STDIO and Path(STDIO) in faces:
        raise UsageError("the picture and the face cannot both come from stdin; name one of them")
    read = [
        path for path in (*map(Path, placing.masks), *placing.places, *placing.renderings, *faces) if path.is_file()
    ]
    kind = Kind(READABLE, ".png", SUFFIXES)
    plan = make_plan([target], call.files.output, kind, extra=[call.files.report], also=read)
    studio = Refacer.of(call)
    parses = AUTO in placing.masks
    studio.equipment.require(parser=parses)
    if parses:
        warn_of_borrowed_parser(studio, quiet=call.files.quiet)
    work = Compositing(studio, faces, placing, call.files.quiet)
    run_plan(plan, Work(work.load, work.process, ADVICE, facts=studio.equipment.facts), call.files)


@dataclass(frozen=True)
class Compositing:
    """Read the picture and the faces, check that they belong together, blend."""

    studio: Refacer
    faces: Sequence[Path]
    placing: Placing
    quiet: bool

    def load(self, item: Item) -> Loaded:
        """Everything that is read: contents first, then whether they fit."""
        target = self.studio.read(item.read())
        sources = [self.studio.read(read_stdin() if str(path) == STDIO else path) for path in self.faces]
        masks: list[MaskChoice] = [self._read_mask(name) for name in self._mask_names()]
        places = [face for path in self.placing.places for face in single_passports(read_passport(path))]
        faces = [Face(source, str(path)) for source, path in zip(sources, self.faces, strict=True)]
        if places and len(places) != len(faces):
            raise PassportMismatch(f"--align: {len(places)} places for {len(faces)} faces; give one a face, in order")
        if places:
            faces = [_moved(face, place) for face, place in zip(faces, places, strict=True)]
        faces = self._with_renderings(faces)
        for face in faces:
            placed_in(target.info, face, allow_mismatch=self.placing.allow_mismatch, name=item.name)
        return Loaded(item, target, faces, masks)

    def process(self, loaded: list[Loaded], _progress: Progress) -> list[Outcome]:
        """The finished picture."""
        return [self._finish(one) for one in loaded]

    def _with_renderings(self, faces: list[Face]) -> list[Face]:
        """The faces with the pictures of --rendering in place of those that travel inside."""
        paths = self.placing.renderings
        if not paths:
            return faces
        if len(paths) != len(faces):
            raise UsageError(f"--rendering: {len(paths)} given for {len(faces)} faces; give one a face, in order")
        given = [Face(self.studio.read(path), str(path)) for path in paths]
        for face, rendering in zip(faces, given, strict=True):
            if rendering.size != face.size or rendering.source.depth != 8:
                told = f"is {rendering.size} pixels wide, {rendering.source.depth} bits deep"
                raise ShapeMismatch(
                    f"--rendering {rendering.name}: {told}; its face is {face.size} wide and has 8 bits"
                )
        return [replace(face, drawn=one.pixels) for face, one in zip(faces, given, strict=True)]

    def _finish(self, one: Loaded) -> Outcome:
        for face in () if self.quiet else one.faces:
            options = self.studio.equipment.composite_options(translated=face.translated)
            if options.paste == "auto" and face.rendering is None:
                console.warn(f"{face.name}: carries no rendering of its code; it is pasted as it is (--paste face)")
        display = self.studio.paste(
            one.target, one.faces, one.masks, allow_mismatch=self.placing.allow_mismatch, name=one.item.name
        )
        return outcome_of(display, one.item.output, facts={"faces": len(one.faces)})

    def _mask_names(self) -> list[str]:
        """One mask a face; 'auto' or 'none' goes for all."""
        names = list(self.placing.masks)
        if len(names) == 1 and names[0] in (AUTO, NONE):
            return names * len(self.faces)
        if len(names) != len(self.faces):
            raise UsageError(f"--mask: {len(names)} given for {len(self.faces)} faces; give one a face, in order")
        return names

    def _read_mask(self, name: str) -> MaskChoice:
        if name == AUTO:
            return AUTO
        return None if name == NONE else Mask.read(name, max_pixels=self.studio.choices.max_pixels)


def _moved(face: Face, place: Passport) -> Face:
    """A face with its place taken from another passport, its own history kept."""
    own = face.source.passport and face.passport
    stages = own.faces[0].stages if own else place.faces[0].stages
    passport = replace(place, faces=(replace(place.faces[0], stages=stages),))
    return Face(replace(face.source, passport=passport), face.name)
