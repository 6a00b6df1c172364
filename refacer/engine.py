"""The front door: a pair at work on pictures in memory, stage by stage or the whole job.

The command line uses it too, so both give the same pixels and the same passports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from refacer.equipment import Equipment
from refacer.errors import PassportMismatch, ShapeMismatch, UsageError
from refacer.files import Source
from refacer.files.artefacts import (
    Display,
    Face,
    Latents,
    Mask,
    Picture,
    is_own,
    like_picture,
    own_passport,
    read_picture,
)
from refacer.images.pixels import (
    array_from_labels,
    labels_from_array,
    paste_blend,
    rgb_from_tensor,
    tensor_from_rgb,
)
from refacer.options import (
    Call,
    Choices,
    GeneratorRole,
)
from refacer.records import LARGEST, Records, array_sha256
from refacer.stages.align import select_faces
from refacer.stages.composite import Blend
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.pipeline import (
    FaceResult,
    Found,
    Placed,
    aligned,
    composite_all,
    decoded,
    find_faces,
    project_each,
)
from refacer.stages.pipeline import (
    run as run_stages,
)
from refacer.stages.project import Projector
from refacer.types import Codes, FaceRecord, Passport, Progress, Rgb, SourceInfo, StageRecord

MaskChoice = Mask | Literal["auto"] | None
"""A mask, 'auto' for the face's own parts as parsed here, or None for all of the crop."""


@dataclass(frozen=True, eq=False)
class Stages:
    """What became of one face, stage by stage; mask is None where all of the crop was pasted."""

    face: Face
    latents: Latents
    real: Face
    mask: Mask | None


@dataclass(frozen=True, eq=False)
class Result:
    """What `run` made of a picture.

    image: like the input, a PIL image for a PIL image, else an array (H, W, 3 or 4) in the source's own depth.
    faces: every face that was changed, from left to right. display: the finished picture with all that travels along.
    """

    image: Any
    faces: tuple[Stages, ...]
    display: Display

    @property
    def passport(self) -> Passport:
        """Where the faces are and what was done to them."""
        return self.display.passport

    def save(self, path: str | Path) -> None:
        """Write the picture as the command line would: its profile, EXIF and passport with it."""
        self.display.save(path)


def run(image: Picture, pair: str | Path | None = None, device: str = "auto", **choices: Any) -> Result:
    """Give every face of a picture a photo-realistic look; everything else stays as it is.

    Args:
        image: a path, a file's bytes, a PIL image, or an array (H, W, 3 or 4) of uint8 or uint16, RGB(A).
        pair: name or folder of a pair of generators; None is $REFACER_PAIR, else the embedded one.
        device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.
        **choices: the options of `refacer run` by their own names; see `refacer.Choices`.

    Returns:
        The picture, the faces and the passport. For several pictures make one `Refacer` and call its `run`.

    Raises:
        NoFace: where no face is found. InputRefused: for a picture that cannot be decoded. Others: see refacer.errors.

    Example:
        >>> result = refacer.run("look.png", color="none")
        >>> result.save("look.real.png")
    """
    return Refacer(pair, device, **choices).run(image)


class Refacer:
    """A pair with its networks, each read once, when it is first needed.

    Args:
        pair, device, **choices: as for `refacer.run`.

    Raises:
        UsageError: for a device that is not there, or a choice that means nothing. WeightsMissing: for an unknown pair.

    Example:
        >>> studio = refacer.Refacer(pair="runs/a", device="cuda")
        >>> faces = studio.align("look.png")
        >>> latents = studio.project(faces[0])
        >>> real = studio.decode(latents)
        >>> image = studio.composite("look.png", real, studio.parse(real))
    """

    def __init__(self, pair: str | Path | None = None, device: str = "auto", **choices: Any) -> None:
        unknown = sorted(choices.keys() - {field.name for field in fields(Choices)})
        if unknown:
            raise UsageError(f"{', '.join(unknown)}: nothing that can be chosen; refacer.Choices lists what can")
        self.choices = Choices(**choices)
        self.equipment = Equipment(pair, device, self.choices)
        self.records = Records(self.equipment)

    @classmethod
    def of(cls, call: Call) -> Refacer:
        """The one that a command line asks for."""
        return cls(call.pair, call.device, **vars(call.choices))

    def check(self) -> None:
        """Meet what is wrong with the choices of the whole job before the work, not in every picture."""
        equipment = self.equipment
        _ = equipment.options, equipment.init
        drawn = () if self.choices.generator else ("real",)
        equipment.require("rendering", *drawn, detector=True, perceptual=True, parser=self.choices.mask == "auto")

    # ------------------------------------------------------------ stages

    def align(self, image: Picture | Source, *, faces: str | None = None) -> list[Face]:
        """Cut faces out of a picture as FFHQ does.

        Args:
            image: as for `refacer.run`.
            faces: 'all', 'largest' or numbers from the left; None is the choice this object was made with, else all.

        Returns:
            The faces from left to right, each with a passport that says where it came from.

        Raises:
            NoFace: where there is none. UsageError: where there is no face of that number.

        Example:
            >>> refacer.Refacer().align("look.png", faces="largest")[0].save("face.png")
        """
        source, options = self.read(image), self.equipment.align_options
        which = faces or self.choices.faces or "all"
        tensor = self.tensor(source)
        found = find_faces(tensor, self.equipment.detector, options, which)
        record = self.align_record(which, found[0].count)
        return [
            Face.of(
                rgb_from_tensor(aligned(tensor, one, self.equipment.crop_px, options)),
                Passport(source.info, (_face_record(one, self.equipment.crop_px, record),)),
            )
            for one in found
        ]

    def project(self, face: Picture | Face, *, into: GeneratorRole = "rendering") -> Latents:
        """Find the W+ code of an aligned face (Eq. 4).

        Args:
            face: what `align` gave, or any square picture of an aligned face.
            into: the generator that is inverted.

        Returns:
            The code, (1, num_ws, w_dim), its passport and how far its picture stayed from the face.

        Raises:
            ShapeMismatch: for a picture that is not square. RefacerError: when the loss is no longer finite.

        Example:
            >>> refacer.Refacer(steps=500).project("face.png").save("codes.npy")
        """
        return self.project_all([Face.read(face, max_pixels=self.choices.max_pixels)], into=into)[0]

    def project_all(
        self, faces: Sequence[Face], *, into: GeneratorRole = "rendering", progress: Progress | None = None
    ) -> list[Latents]:
        """The same for several faces, up to the chosen `batch` at once."""
        options = self.equipment.project_options(into)
        passports = [self.projected_passport(face, into) for face in faces]
        found = project_each(
            [self.tensor(face.source) for face in faces],
            Projector(self.equipment.generator(into), self.equipment.perceptual, self.equipment.w_std),
            options,
            batch=self.choices.batch,
            init=self.equipment.init_codes,
            progress=progress,
        )
        return [
            Latents(_stored(one.codes), passport, float(one.distance[0]), one.trace)
            for one, passport in zip(found, passports, strict=True)
        ]

    def decode(self, codes: str | Path | Codes | Latents, *, into: GeneratorRole = "real") -> Face:
        """Draw one W+ code.

        Args:
            codes: what `project` gave, an array (1, num_ws, w_dim), or a `.npy` file.
            into: the generator that draws.

        Returns:
            The face with its passport; codes without one give a face that is its own source.

        Raises:
            ShapeMismatch: for a code of another pair, or several. InputRefused: for values that are not finite.

        Example:
            >>> refacer.Refacer(psi=1).decode("codes.npy").save("real.png")
        """
        latents = Latents.read(codes)
        if len(latents.values) != 1:
            raise ShapeMismatch(f"{len(latents.values)} codes; decode_all draws several")
        return self.decode_all(latents, into=into)[0]

    def decode_all(self, latents: Latents, *, into: GeneratorRole = "real") -> list[Face]:
        """The same for (N, num_ws, w_dim): N faces."""
        generator, options = self.equipment.drawing_generator(into), self.equipment.decode_options(into)
        codes = torch.from_numpy(latents.values).to(self.equipment.device)
        passports, faces = self.decoded_passports(latents, into), []
        for w, passport, code in zip(codes.split(1), passports, latents.values, strict=True):
            picture = rgb_from_tensor(decoded(w, generator, options))
            if passport is None:
                own = own_passport(Source(picture).info).with_stage(self.records.decode(options, code[None]))
                faces.append(Face.of(picture, own))
            else:
                faces.append(Face.of(picture, passport, self._other_look(w, picture, into)))
        return faces

    def _other_look(self, code: Tensor, picture: Rgb, into: GeneratorRole) -> Rgb | None:
        """The rendering generator's picture of a code that is drawn as a realistic face; None where there is none.

        A generator from a file is no partner of the pair's: between the two pictures lies more than a change of look.
        """
        if into != "real" or self.choices.generator or not self.equipment.pair.has("rendering"):
            return None
        generator = self.equipment.rendering
        if (generator.num_ws, generator.w_dim) != tuple(code.shape[1:]):
            return None
        drawn = rgb_from_tensor(decoded(code, generator, self.equipment.decode_options(into)))
        return drawn if drawn.shape == picture.shape else None

    def parse(self, face: Picture | Face) -> Mask:
        """Find the parts of an aligned face that are pasted (Appendix B).

        Args:
            face: what `decode` gave, or any square picture of an aligned face.

        Returns:
            The mask, (S, S) bool, with the face's passport.

        Raises:
            ShapeMismatch: for a picture that is not square. UsageError: for a class that does not exist.

        Example:
            >>> refacer.Refacer(classes="skin,nose").parse("real.png").save("mask.png")
        """
        face = Face.read(face, max_pixels=self.choices.max_pixels)
        labels = parse(self.tensor(face.source), self.equipment.parser)
        mask = mask_from_labels(labels, self.equipment.options.parse.classes)[0]
        return Mask(array_from_labels(mask) > 0, self.parsed_passport(face, classes=False))

    def parse_classes(self, face: Picture | Face) -> Mask:
        """All 19 classes of CelebAMask-HQ, (S, S) uint8; arguments and errors as for `parse`."""
        face = Face.read(face, max_pixels=self.choices.max_pixels)
        labels = parse(self.tensor(face.source), self.equipment.parser)[0]
        return Mask(array_from_labels(labels), self.parsed_passport(face, classes=True))

    def composite(
        self,
        image: Picture,
        face: Picture | Face,
        mask: Mask | Literal["auto"] | None = "auto",
        *,
        allow_mismatch: bool = False,
    ) -> Any:
        """Put a face back into the picture it was cut from (Eq. B1).

        Args:
            image: the picture, in any form.
            face: the new face; its passport says where it goes.
            mask: what `parse` gave; 'auto' parses the face, None pastes all of the crop.
            allow_mismatch: paste into another picture than the face was cut from, too.

        Returns:
            The finished picture in the form `image` has; see `Result.image`.

        Raises:
            PassportMismatch: for a face without a place, or of another picture.

        Example:
            >>> image = refacer.Refacer().composite("look.png", "real.png")
        """
        source, face = self.read(image), Face.read(face, max_pixels=self.choices.max_pixels)
        return like_picture(image, self.paste(source, [face], [mask], allow_mismatch=allow_mismatch).native)

    def paste(
        self,
        target: Source,
        faces: Sequence[Face],
        masks: Sequence[MaskChoice],
        *,
        allow_mismatch: bool = False,
        name: str = "this picture",
    ) -> Display:
        """Composite several faces, each into the picture with those before it; name: the target's, for messages."""
        records = [placed_in(target.info, face, allow_mismatch=allow_mismatch, name=name) for face in faces]
        placed, done = [], []
        for face, mask, record in zip(faces, masks, records, strict=True):
            tensor = self.tensor(face.source)
            values, history = self._mask(mask, tensor)
            placed.append(Placed(tensor, values, record.quad))
            done.append(replace(record, stages=(*record.stages, *history)))
        blends = composite_all(self._canvas(target), placed, self.equipment.options.composite)
        return Display(target, _pasted(target.native, blends), Passport(target.info, tuple(done)))

    def run(self, image: Picture, *, progress: Progress | None = None) -> Result:
        """The whole job on one picture; as `refacer.run`, with the networks already read.

        Args:
            image: as for `refacer.run`.
            progress: called with (steps done, steps in all).

        Returns:
            The picture, the faces and the passport.

        Raises:
            NoFace: where there is none. OutOfMemory and others: see refacer.errors.

        Example:
            >>> studio = refacer.Refacer()
            >>> for path in Path("shots").glob("*.png"):
            ...     studio.run(path).save(Path("out") / path.name)
        """
        source = self.read(image)
        results = run_stages(
            self.tensor(source),
            self.equipment.networks(),
            self.equipment.options,
            canvas=self._canvas(source),
            init=self.equipment.init_codes,
            progress=progress,
        )
        native = _pasted(source.native, [result.blend for result in results])
        stages = [self._stages(source.info, result) for result in results]
        faces = tuple(
            replace(one.face.passport.faces[0], stages=self.history(result.found.count, one.face.source.info))
            for one, result in zip(stages, results, strict=True)
        )
        display = Display(source, native, Passport(source.info, faces))
        return Result(like_picture(image, native), tuple(stages), display)

    # ------------------------------------------------------------ what passports say

    def align_record(self, faces: str, count: int) -> StageRecord:
        """What `align` writes about one of `count` faces."""
        return self.records.align(self.equipment.align_options, self.equipment.crop_px, faces=faces, count=count)

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
        options, init = self.equipment.project_options(into), self.equipment.init
        return face.passport.with_stage(self.records.project(options, face.source.info, init))

    def parsed_passport(self, face: Face, *, classes: bool) -> Passport:
        """The passport that a face's mask, or its classes, will carry."""
        record = self.records.labels() if classes else self.records.parse(self.equipment.options.parse)
        return face.passport.with_stage(record)

    def decoded_passports(self, latents: Latents, into: GeneratorRole = "real") -> list[Passport | None]:
        """The passport of each code's face; None where the codes' own does not tell, and the face is its own source."""
        known = latents.passport
        if known is None or len(known.faces) != len(latents.values):
            return [None] * len(latents.values)
        record = self.records.decode(self.equipment.decode_options(into))
        return [replace(known, faces=(face.with_stage(record),)) for face in known.faces]

    def is_drawing_of(self, done: Passport | None, latents: Latents, index: int, into: GeneratorRole) -> bool:
        """Whether a file's passport says that it shows one of these codes as it would be drawn now."""
        if done is None:
            return False
        if (expected := self.decoded_passports(latents, into)[index]) is not None:
            return done == expected
        options = self.equipment.decode_options(into)
        record = self.records.decode(options, latents.values[index : index + 1])
        return is_own(done) and [face.stages for face in done.faces] == [(record,)]

    def check_places(self, target: Source, faces: Sequence[Face], *, allow_mismatch: bool, name: str) -> None:
        """Raise PassportMismatch where a face has no place, or one in another picture than `target`."""
        for face in faces:
            placed_in(target.info, face, allow_mismatch=allow_mismatch, name=name)

    def history(self, count: int, face: SourceInfo) -> tuple[StageRecord, ...]:
        """What `run` writes about one of `count` faces, stage by stage."""
        records, options, masked = self.records, self.equipment.options, self.choices.mask == "auto"
        return (
            self.align_record(options.faces, count),
            records.project(options.project, face, self.equipment.init),
            records.decode(options.decode),
            *((records.parse(options.parse),) if masked else ()),
            records.composite(options.composite, None if masked else "none"),
        )

    def _stages(self, source: SourceInfo, result: FaceResult) -> Stages:
        """The artefacts of one face, each with the passport as it was after that stage."""
        face = rgb_from_tensor(result.face)
        history = self.history(result.found.count, Source(face).info)
        record = _face_record(result.found, self.equipment.crop_px, history[0])

        def passport(stages: int) -> Passport:
            return Passport(source, (replace(record, stages=history[:stages]),))

        found, rendering = result.projection, rgb_from_tensor(result.rendering)
        mask = None if result.mask is None else Mask(array_from_labels(result.mask[0]) > 0, passport(4))
        return Stages(
            Face.of(face, passport(1)),
            Latents(_stored(found.codes), passport(2), float(found.distance[0]), found.trace),
            Face.of(rgb_from_tensor(result.real), passport(3), None if self.choices.generator else rendering),
            mask,
        )

    def _mask(self, mask: MaskChoice, face: Tensor) -> tuple[Tensor | None, tuple[StageRecord, ...]]:
        """A mask (1, M, M) or None, and what the passport says about it and the blending."""
        records, options = self.records, self.equipment.options
        if mask is None:
            return None, (records.composite(options.composite, "none"),)
        if isinstance(mask, str):
            values = mask_from_labels(parse(face, self.equipment.parser), options.parse.classes)
            return values, (records.parse(options.parse), records.composite(options.composite))
        values = labels_from_array(mask.values.astype("uint8"), self.equipment.device)[None] > 0
        parsed = _parse_record(mask.passport)
        if parsed:
            return values, (parsed, records.composite(options.composite))
        return values, (records.composite(options.composite, array_sha256(mask.values)),)

    # ------------------------------------------------------------ pictures

    def read(self, image: Picture | Source) -> Source:
        """Any form of a picture; raises InputRefused where it cannot be decoded or is too large."""
        return image if isinstance(image, Source) else read_picture(image, max_pixels=self.choices.max_pixels)

    def tensor(self, source: Source) -> Tensor:
        """What the stages see of a picture: (1, 3, H, W) on the device, 8 bits deep, transparent pixels over grey."""
        return tensor_from_rgb(source.rgb, self.equipment.device)

    def _canvas(self, source: Source) -> Tensor:
        """What faces are pasted into: (1, 3, H, W) on the device, the picture's own colours in their own depth."""
        return tensor_from_rgb(source.native[..., :3], self.equipment.device)


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


def _parse_record(passport: Passport | None) -> StageRecord | None:
    """The record of `parse`, where a mask was made by it."""
    last = passport.faces[0].stages[-1:] if passport and passport.faces else ()
    if not last or last[0].stage != "parse":
        return None
    if "labels" in last[0].parameters:
        raise ShapeMismatch("--mask: holds labels, not a mask; leave out --labels when parsing")
    return last[0]


def _face_record(face: Found, size: int, record: StageRecord) -> FaceRecord:
    """A face that was just aligned; only 68 landmarks are kept."""
    landmarks = face.landmarks if len(face.landmarks) == 68 else ()
    return FaceRecord(face.index, face.count, landmarks, face.quad, size, (record,))


def _stored(codes: Tensor) -> Codes:
    """Codes as they are stored."""
    return codes.float().cpu().numpy()


def _pasted(native: Any, blends: Sequence[Blend]) -> Any:
    """A picture's own pixels with finished regions written into them."""
    for blend in blends:
        native = paste_blend(native, blend.top, blend.left, blend.pixels, blend.alpha)
    return native
