"""`refacer decode`: W+ codes -> face PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer.engine import Refacer
from refacer.errors import RefacerError, UsageError
from refacer.files.artefacts import Latents
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work, labelled, passport_of
from refacer.options import Call, GeneratorRole
from refacer.types import Progress
from refacer.weights.formats.latents import read_latents

CODES = (".npy", ".npz", ".pt", ".pth")
"""Suffixes of files of codes."""

ADVICE = "choose a pair of a lower resolution, or use --device cpu"


def main(inputs: Sequence[Path] | None, call: Call, into: GeneratorRole) -> None:
    """Draw every code of every file; in a folder only those whose faces are not up to date."""
    kind = Kind(CODES, ".png", (".png",), several=any(map(_holds_several, inputs or ())))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report])
    studio = Refacer.of(call)
    studio.equipment.require(*(() if call.choices.generator else (into,)))
    skips = plan.keeps(force=call.files.force)
    decoding = Decoding(studio, into, skips, plan.folder is not None)
    run_plan(plan, Work(decoding.load, decoding.process, ADVICE, facts=studio.equipment.facts), call.files)


@dataclass(frozen=True)
class Decoding:
    """Read codes and draw them."""

    studio: Refacer
    into: GeneratorRole
    skips: bool
    many: bool

    def load(self, item: Item) -> Latents | None:
        """The codes of a file; None where their faces are up to date."""
        latents = read_latents(item.read())
        if len(latents.values) > 1 and not self.many:
            raise UsageError(f"{item.name}: holds {len(latents.values)} codes; name a folder with -o")
        return None if self.skips and self._is_current(item, latents) else latents

    def process(self, stored: list[Latents], _progress: Progress) -> list[Outcome]:
        """The pictures of each file's codes."""
        return [self._pictures(latents) for latents in stored]

    def _pictures(self, latents: Latents) -> Outcome:
        faces = self.studio.decode_all(latents, into=self.into)
        encoded = {_label(i): face.encode() for i, face in enumerate(faces)}
        return Outcome(labelled(encoded), facts={"faces": len(faces)})

    def _is_current(self, item: Item, latents: Latents) -> bool:
        """Whether every code's face is there, drawn as it would be now."""
        labels = [None] if len(latents.values) == 1 else [_label(i) for i in range(len(latents.values))]
        done = [passport_of(path) if (path := item.part(label)) else None for label in labels]
        records = self.studio.records
        return all(records.is_drawing_of(passport, latents, i, self.into) for i, passport in enumerate(done))


def _label(index: int) -> str:
    return f"{index:03d}"


def _holds_several(path: Path) -> bool:
    """Whether a file holds more than one code, so that its pictures need a folder; errors are met later."""
    try:
        return path.is_file() and len(read_latents(path).values) > 1
    except RefacerError:
        return False
