"""`refacer sdedit`: faces -> several photographs each, by noise and a model that takes it off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from refacer.editor import Editor
from refacer.files import READABLE, read_source
from refacer.files.artefacts import Face
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work, labelled, passport_of
from refacer.options import Call, SDEditOptions
from refacer.types import Progress

ADVICE = "use --device cpu"


def main(inputs: Sequence[Path], model: Path, options: SDEditOptions, call: Call) -> None:
    """Every face's samples; in a folder only of those whose samples are not up to date."""
    kind = Kind(READABLE, ".png", (".png",), several=options.samples > 1, makes=("sdedit",))
    plan = make_plan(inputs, call.files.output, kind, extra=[call.files.report])
    editor = Editor(model, options, call.device)
    _ = editor.model  # met here where it is missing
    editing = Editing(editor, plan.keeps(force=call.files.force), call.choices.max_pixels)
    run_plan(plan, Work(editing.load, editing.process, ADVICE, facts=editor.facts), call.files)


@dataclass(frozen=True)
class Editing:
    """Read faces and draw their samples."""

    editor: Editor
    skips: bool
    max_pixels: int

    def load(self, item: Item) -> Face | None:
        """A face; None where all of its samples are up to date."""
        face = Face(read_source(item.read(), max_pixels=self.max_pixels), item.name)
        seeds = self.editor.seeds
        labels = [None] if len(seeds) == 1 else [_label(i) for i in range(len(seeds))]
        done = [passport_of(path) if self.skips and (path := item.part(label)) else None for label in labels]
        return None if done == [self.editor.passport(face, seed) for seed in seeds] else face

    @torch.no_grad()
    def process(self, faces: list[Face], progress: Progress) -> list[Outcome]:
        """The samples of each face."""
        return [self._samples(face, progress) for face in faces]

    def _samples(self, face: Face, progress: Progress) -> Outcome:
        seeds, results = self.editor.seeds, dict[str, bytes]()
        for i, seed in enumerate(seeds):
            results[_label(i)] = self.editor.edit(face, seed).encode()
            progress(i + 1, len(seeds))
        return Outcome(labelled(results), facts={"samples": len(seeds)})


def _label(index: int) -> str:
    return str(index)
