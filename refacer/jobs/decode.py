"""`refacer decode`: W+ codes -> face PNGs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer.engine import Refacer
from refacer.errors import RefacerError, UsageError
from refacer.files.artefacts import Latents
from refacer.files.codes import StoredCodes
from refacer.files.streams import open_seekable, shown
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work, passport_of
from refacer.options import Call, GeneratorRole
from refacer.types import Progress
from refacer.weights.formats.latents import open_latents

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

    def load(self, item: Item) -> StoredCodes | None:
        """The codes of a file; None where their faces are up to date."""
        codes = open_latents(item.open(), item.name if item.path is None else shown(item.path))
        if len(codes) > 1 and not self.many:
            raise UsageError(f"{item.name}: holds {len(codes)} codes; name a folder with -o")
        return None if self.skips and self._is_current(item, codes) else codes

    def process(self, stored: list[StoredCodes], _progress: Progress) -> list[Outcome]:
        """The pictures of each file's codes."""
        return [
            Outcome(_Drawings(lambda i, codes=codes: self._drawn(codes, i), len(codes)), facts={"faces": len(codes)})
            for codes in stored
        ]

    def _drawn(self, codes: StoredCodes, index: int) -> bytes:
        (face,) = self.studio.decode_all(Latents.one_of(codes, index), into=self.into)
        return face.encode()

    def _is_current(self, item: Item, codes: StoredCodes) -> bool:
        """Whether every code's face is there, drawn as it would be now."""
        return all(self._is_drawn(item.part(label), codes, i) for i, label in enumerate(_labels(len(codes))))

    def _is_drawn(self, path: Path | None, codes: StoredCodes, index: int) -> bool:
        done = passport_of(path) if path else None
        return self.studio.records.is_drawing_of(done, Latents.one_of(codes, index), 0, self.into)


class _Drawings(Mapping[str | None, bytes]):
    """The pictures of a file's codes by label, each drawn when it is asked for.

    The first is drawn at once, so that codes which do not fit are met before anything is written.
    """

    def __init__(self, draw: Callable[[int], bytes], count: int) -> None:
        self._draw, self._first, self._count = draw, draw(0), count

    def __getitem__(self, label: str | None) -> bytes:
        index = int(label or 0)
        return self._draw(index) if index else self._first

    def __iter__(self) -> Iterator[str | None]:
        return _labels(self._count)

    def __len__(self) -> int:
        return self._count


def _labels(count: int) -> Iterator[str | None]:
    """None for an only picture."""
    return iter([None]) if count == 1 else (f"{index:03d}" for index in range(count))


def _holds_several(path: Path) -> bool:
    """Whether a file holds more than one code, so that its pictures need a folder; errors are met later."""
    try:
        return path.is_file() and len(open_latents(open_seekable(path), shown(path))) > 1
    except RefacerError:
        return False
