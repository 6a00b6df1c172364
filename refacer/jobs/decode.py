"""`refacer decode`: W+ codes -> face PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from refacer.commands.shared import Common, DecodeFlags
from refacer.errors import RefacerError, UsageError
from refacer.files import Source, encode_png, read_codes
from refacer.images.pixels import rgb_from_tensor
from refacer.jobs.passports import Records, own_passport
from refacer.jobs.plan import Item, Kind, make_plan
from refacer.jobs.runner import Outcome, Work, labelled, run_plan
from refacer.jobs.session import Session
from refacer.options import DecodeOptions, GeneratorRole
from refacer.stages.pipeline import decoded
from refacer.types import Codes, Passport, Progress, Rgb

ADVICE = "choose a pair of a lower resolution, or use --device cpu"
Stored = tuple[Codes, Passport | None]


def main(inputs: Sequence[Path] | None, flags: DecodeFlags, into: GeneratorRole, common: Common) -> None:
    """Draw every code of every file."""
    kind = Kind((".npy",), ".png", (".png",), several=any(map(_holds_several, inputs or ())))
    plan = make_plan(inputs, common.output, kind, extra=[common.report])
    session = Session(common)
    session.require(*(() if flags.generator else (into,)))
    if flags.generator:
        session.drawing_generator(into, flags.generator)  # a file that is refused is met once, not in every item
    decoding = Decoding(session, session.decode_options(flags, into), flags.generator, plan.folder is not None)
    run_plan(plan, Work(decoding.load, decoding.process, ADVICE, facts=session.facts), common)


@dataclass(frozen=True)
class Decoding:
    """Read codes and draw them."""

    session: Session
    options: DecodeOptions
    generator: Path | None
    many: bool

    def load(self, item: Item) -> Stored:
        """The codes of a file and their passport."""
        codes, passport = read_codes(item.read())
        if len(codes) > 1 and not self.many:
            raise UsageError(f"{item.name}: holds {len(codes)} codes; name a folder with -o")
        return codes, passport

    def process(self, stored: list[Stored], _progress: Progress) -> list[Outcome]:
        """The pictures of each file's codes."""
        return [self._pictures(*one) for one in stored]

    def _pictures(self, codes: Codes, passport: Passport | None) -> Outcome:
        generator = self.session.drawing_generator(self.options.into, self.generator)
        ws = torch.from_numpy(codes).to(self.session.device)
        pictures = [rgb_from_tensor(decoded(w, generator, self.options)) for w in ws.split(1)]
        passports = split_passport(passport, pictures)
        record = Records(self.session).decode(self.options, self.generator)
        encoded = [encode_png(p, q.with_stage(record)) for p, q in zip(pictures, passports, strict=True)]
        return Outcome(labelled({f"{i:03d}": data for i, data in enumerate(encoded)}), facts={"faces": len(encoded)})


def split_passport(passport: Passport | None, pictures: Sequence[Rgb]) -> list[Passport]:
    """A passport for each picture: its face's, or its own where the codes' passport does not tell."""
    if passport is None or len(passport.faces) != len(pictures):
        return [own_passport(Source(picture).info) for picture in pictures]
    return [replace(passport, faces=(face,)) for face in passport.faces]


def _holds_several(path: Path) -> bool:
    """Whether a file holds more than one code, so that its pictures need a folder; errors are met later."""
    try:
        return path.is_file() and len(read_codes(path)[0]) > 1
    except RefacerError:
        return False
