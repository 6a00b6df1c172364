"""`refacer align`: picture -> a PNG of each face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer import console
from refacer.commands.shared import AlignFlags, Common
from refacer.files import SUFFIXES, Source, encode_png
from refacer.images.pixels import rgb_from_tensor
from refacer.jobs.passports import Records
from refacer.jobs.plan import Kind, make_plan
from refacer.jobs.runner import Outcome, Work, labelled, run_plan
from refacer.jobs.session import Session
from refacer.options import AlignOptions
from refacer.stages.pipeline import Found, aligned, find_faces
from refacer.types import FaceRecord, Passport, Progress, StageRecord

ADVICE = "give a smaller picture, lower --size, or use --device cpu"


def main(inputs: Sequence[Path] | None, flags: AlignFlags, common: Common) -> None:
    """Align the chosen faces; into one file or stdout goes the largest unless another one is chosen."""
    kind = Kind(SUFFIXES, ".png", (".png",), several=names_several(flags.faces))
    plan = make_plan(inputs, common.output, kind, extra=[common.report])
    session = Session(common)
    session.require(detector=flags.detector)
    faces = flags.faces or ("all" if plan.folder else "largest")
    aligning = Aligning(session, flags.options(), flags.size or session.pair.resolution, faces)
    run_plan(plan, Work(session.read, aligning.process, ADVICE, facts=session.facts), common)


@dataclass(frozen=True)
class Aligning:
    """Find, choose and cut faces."""

    session: Session
    options: AlignOptions
    size: int
    faces: str

    def process(self, sources: list[Source], _progress: Progress) -> list[Outcome]:
        """The faces of each picture."""
        return [self._faces(source) for source in sources]

    def _faces(self, source: Source) -> Outcome:
        image = self.session.tensor(source)
        found = find_faces(image, self.session.detector(self.options), self.options, self.faces)
        record = Records(self.session).align(self.options, self.size, faces=self.faces, count=found[0].count)
        results = {}
        for face in found:
            passport = Passport(source.info, (face_record(face, self.size, record),))
            pixels = rgb_from_tensor(aligned(image, face, self.size, self.options))
            results[str(face.index)] = encode_png(pixels, passport)
        self._say_what_is_left(found)
        return Outcome(labelled(results), facts={"faces": len(found), "faces_found": found[0].count})

    def _say_what_is_left(self, found: list[Found]) -> None:
        if len(found) < found[0].count and not self.session.common.quiet:
            console.note(f"{found[0].count} faces found, {len(found)} taken; choose with --faces")


def face_record(face: Found, size: int, record: StageRecord) -> FaceRecord:
    """A face that was just aligned; only 68 landmarks are kept."""
    landmarks = face.landmarks if len(face.landmarks) == 68 else ()
    return FaceRecord(face.index, face.count, landmarks, face.quad, size, (record,))


def names_several(faces: str | None) -> bool:
    """Whether --faces asks for more than one face."""
    return faces is not None and faces != "largest" and not faces.isdigit()
