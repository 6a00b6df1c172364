"""What passports say of each stage: the parameters that affect pixels, the models' sha256, the seed.

Single stages and the whole job take their records from here, so that both leave the same passport; a file whose
passport equals what would be written now is up to date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from refacer.equipment import Equipment
from refacer.errors import PassportMismatch, ShapeMismatch, UsageError
from refacer.files.artefacts import Face, Latents, is_own
from refacer.files.npy import array_sha256
from refacer.inverters.method import Method, chosen_method
from refacer.options import (
    AlignOptions,
    CompositeOptions,
    DecodeOptions,
    FollowOptions,
    GeneratorRole,
    ParseOptions,
    SequenceOptions,
    TranslateOptions,
)
from refacer.stages.align import select_faces
from refacer.stages.pipeline import Found
from refacer.types import Codes, FaceRecord, Passport, SourceInfo, StageRecord

LARGEST = "largest"
INPUT = "input_sha256"


@dataclass(frozen=True)
class Records:
    """The records of one call's stages."""

    equipment: Equipment

    def align(self, options: AlignOptions, size: int, *, faces: str, count: int) -> StageRecord:
        """`faces` is recorded only where 'largest' left some of `count` out: the index alone would not tell why."""
        chosen = {"faces": LARGEST} if faces == LARGEST and count > 1 else {}
        return _record("align", {**asdict(options), "size": size, **chosen}, self.equipment.detector_models())

    def project(self, method: Method, face: SourceInfo) -> StageRecord:
        """The face's own sha256 tells whether codes still belong to it; its size is told where it was resampled."""
        parameters = {"inverter": method.name, "into": method.into, **method.parameters(), INPUT: face.sha256}
        if face.width != self.equipment.resolution:
            parameters["resampled_from_px"] = face.width
        generator = {method.into: self.equipment.generator_sha256(method.into, drawing=False)}
        return _record("project", parameters, {**generator, **method.models()}, method.seed)

    def decode(self, options: DecodeOptions, codes: Codes | None = None) -> StageRecord:
        """The seed matters only to random noise. codes: where no passport tells which they are."""
        models = {options.into: self.equipment.generator_sha256(options.into, drawing=True)}
        parameters = {name: value for name, value in asdict(options).items() if name != "seed"}
        seed = options.seed if options.noise_mode == "random" else None
        given = {} if codes is None else {INPUT: array_sha256(codes)}
        return _record("decode", {**parameters, **given}, models, seed)

    def parse(self, options: ParseOptions) -> StageRecord:
        """The mask of some parts."""
        return _record("parse", asdict(options), self.equipment.parser_models())

    def labels(self) -> StageRecord:
        """All parts, as class ids."""
        return _record("parse", {"labels": True}, self.equipment.parser_models())

    def composite(self, options: CompositeOptions, mask: str | None = None) -> StageRecord:
        """mask: 'none', or the sha256 of one that was not parsed by us; None where a parse record tells."""
        parameters = asdict(options)
        if options.paste == "face":  # nothing of a change is used
            parameters = {name: value for name, value in parameters.items() if name not in ("strength", "change")}
        return _record("composite", {**parameters, **({"mask": mask} if mask else {})}, {})

    def translate(self, options: TranslateOptions) -> StageRecord:
        """The pair's distilled network."""
        return _record("translate", asdict(options), {"translator": self.equipment.pair.sha256("translator")})

    def sequence(
        self, options: SequenceOptions, faces: str, frames: str, follow: FollowOptions | None = None
    ) -> StageRecord:
        """What steadied a frame's faces; frames: the sha256 of all frames, since each depends on its neighbours.

        follow: by inversion, how codes went on.
        """
        codes = asdict(follow) if follow else {}
        return _record("sequence", {**asdict(options), **codes, "faces": faces, "frames_sha256": frames}, {})

    # ------------------------------------------------------------ passports

    def align_record(self, faces: str, count: int) -> StageRecord:
        """What `align` writes about one of `count` faces."""
        return self.align(self.equipment.align_options, self.equipment.crop_px, faces=faces, count=count)

    def would_choose(self, indices: Sequence[int], count: int, faces: str) -> bool:
        """Whether `faces` chooses these of `count` faces; which one is the largest, the align record tells."""
        if faces == LARGEST:
            return len(indices) == 1
        try:
            return select_faces([()] * count, faces) == list(indices)
        except UsageError:
            return False

    def projected_passport(self, face: Face, into: GeneratorRole = "rendering") -> Passport:
        """The passport that a face's code will carry: where it equals that of a file, the file is up to date."""
        return face.passport.with_stage(self.project(chosen_method(self.equipment, into), face.source.info))

    def parsed_passport(self, face: Face, *, classes: bool) -> Passport:
        """The passport that a face's mask, or its classes, will carry."""
        record = self.labels() if classes else self.parse(self.equipment.parse_options())
        return face.passport.with_stage(record)

    def decoded_passports(self, latents: Latents, into: GeneratorRole = "real") -> list[Passport | None]:
        """The passport of each code's face; None where the codes' own does not tell, and the face is its own source."""
        known = latents.passport
        if known is None or len(known.faces) != len(latents.values):
            return [None] * len(latents.values)
        record = self.decode(self.equipment.decode_options(into))
        return [replace(known, faces=(face.with_stage(record),)) for face in known.faces]

    def is_drawing_of(self, done: Passport | None, latents: Latents, index: int, into: GeneratorRole) -> bool:
        """Whether a file's passport says that it shows one of these codes as it would be drawn now."""
        if done is None:
            return False
        if (expected := self.decoded_passports(latents, into)[index]) is not None:
            return done == expected
        options = self.equipment.decode_options(into)
        record = self.decode(options, latents.values[index : index + 1])
        return is_own(done) and [face.stages for face in done.faces] == [(record,)]

    def translated_passport(self, face: Face) -> Passport:
        """The passport that a face's translation will carry."""
        return face.passport.with_stage(self.translate(self.equipment.translate_options))

    def history(self, count: int, face: SourceInfo, *, left: bool = False) -> tuple[StageRecord, ...]:
        """What `run` writes about one of `count` faces, stage by stage; left: that was too far from what is known."""
        equipment = self.equipment
        options, masked = equipment.options, equipment.choices.mask == "auto"
        if equipment.way == "translate":
            way: tuple[StageRecord, ...] = (self.translate(options.translate),)
        else:
            way = self.project(chosen_method(equipment), face), self.decode(options.decode)
        if left:
            return self.align_record(options.faces, count), *way, _record("left", {"limit": options.limit}, {})
        return (
            self.align_record(options.faces, count),
            *way,
            *((self.parse(options.parse),) if masked else ()),
            self.composite(options.composite, None if masked else "none"),
        )

    def as_now(self, count: int, *, left: bool = False) -> tuple[StageRecord, ...]:
        """The same for a face that would be cut out now."""
        size = self.equipment.crop_px
        return self.history(count, SourceInfo(size, size, ""), left=left)


def placed_in(target: SourceInfo, face: Face, *, allow_mismatch: bool, name: str) -> FaceRecord:
    """Where a face goes; raises PassportMismatch where that is unknown or in another picture."""
    own = face.source.passport and face.passport
    if own is None or (is_own(own) and own.source != target):
        raise PassportMismatch(
            f"{face.name}: does not say where it goes; give --align and the face that `refacer align` made"
        )
    source = own.source
    if source != target and not allow_mismatch:
        sizes = f"{source.width}x{source.height}", f"{target.width}x{target.height}"
        how = f"{sizes[0]}, this one is {sizes[1]}" if sizes[0] != sizes[1] else "of the same size, with other pixels"
        told = f"{face.name}: was cut from another picture than {name} ({how})"
        raise PassportMismatch(f"{told}; paste it nevertheless with --allow-mismatch")
    return own.faces[0]


def parse_record(passport: Passport | None) -> StageRecord | None:
    """The record of `parse`, where a mask was made by it."""
    last = passport.faces[0].stages[-1:] if passport and passport.faces else ()
    if not last or last[0].stage != "parse":
        return None
    if "labels" in last[0].parameters:
        raise ShapeMismatch("--mask: holds labels, not a mask; leave out --labels when parsing")
    return last[0]


def face_record(face: Found, size: int, record: StageRecord) -> FaceRecord:
    """A face that was just aligned; only 68 landmarks are kept."""
    landmarks = face.landmarks if len(face.landmarks) == 68 else ()
    return FaceRecord(face.index, face.count, landmarks, face.quad, size, (record,))


def like(recorded: Sequence[StageRecord], expected: Sequence[StageRecord]) -> bool:
    """Whether a face went through the same stages; what lay between them follows from the source and these."""
    return [_comparable(record) for record in recorded] == [_comparable(record) for record in expected]


def _record(
    stage: str, parameters: Mapping[str, Any], models: Mapping[str, str], seed: int | None = None
) -> StageRecord:
    """Parameters as JSON would give them back, so that records compare equal after a round trip."""
    return StageRecord(stage, json.loads(json.dumps(parameters)), dict(models), seed)


def _comparable(record: StageRecord) -> StageRecord:
    kept = {name: value for name, value in record.parameters.items() if name != INPUT}
    return StageRecord(record.stage, kept, record.models, record.seed)
