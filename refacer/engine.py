"""The front door: a pair at work on pictures in memory, stage by stage or the whole job.

The command line uses it too, so both give the same pixels and the same passports.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from refacer.equipment import Equipment
from refacer.errors import PassportMismatch, RefacerWarning, ShapeMismatch, UsageError
from refacer.files import Native, Source
from refacer.files.artefacts import (
    Display,
    Face,
    Latents,
    Mask,
    Picture,
    like_picture,
    own_passport,
    read_picture,
    require_offsets_of,
)
from refacer.files.npy import array_sha256
from refacer.images.canvas import Canvas
from refacer.images.pixels import (
    array_from_labels,
    labels_from_array,
    paste_blend,
    rgb_from_tensor,
    tensor_from_rgb,
)
from refacer.inverters.method import chosen_method
from refacer.options import (
    Call,
    Choices,
    CompositeOptions,
    GeneratorRole,
)
from refacer.records import Records, face_record, parse_record, placed_in
from refacer.stages.change import fields_of_difference
from refacer.stages.composite import Blend
from refacer.stages.guided import Guided, run_guided
from refacer.stages.inversion import Inversion, invert_each
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.pipeline import (
    FaceResult,
    Found,
    Networks,
    Placed,
    aligned,
    composite_onto,
    decoded,
    find_faces,
    invert_together,
    translated,
)
from refacer.stages.pipeline import (
    run as run_stages,
)
from refacer.types import Codes, Offsets, Passport, Progress, Rgb, SourceInfo, StageRecord

FAR_SMALLER = 0.5
"""A face whose side is less than so much of the largest one's may be no one's: a print, a poster, a toy."""

MaskChoice = Mask | Literal["auto"] | None
"""A mask, 'auto' for the face's own parts as parsed here, or None for all of the crop."""


@dataclass(frozen=True, eq=False)
class Stages:
    """What became of one face, stage by stage.

    latents: None where the face was translated; mask: None where all of the crop was pasted. apart: how far the face is
    from what the pair knows (the distance of Eq. 4, or the distilled network's own measure); left: whether that was too
    far, so that the face stayed as it was.
    """

    face: Face
    latents: Latents | None
    real: Face
    mask: Mask | None
    apart: float
    left: bool = False


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

    def check(self, into: GeneratorRole = "rendering") -> None:
        """Meet what is wrong with the choices of the whole job before the work, not in every picture.

        into: the generator that is inverted.
        """
        equipment = self.equipment
        inverts = equipment.way == "project"
        drawn = () if self.choices.generator else ("real",)
        roles = ("rendering", *drawn) if inverts else ("translator",)
        equipment.require(*roles, detector=True, perceptual=inverts, parser=self.choices.mask == "auto")
        _ = equipment.options
        if inverts:
            chosen_method(equipment, into).check()

    def networks(self, into: GeneratorRole = "rendering") -> Networks:
        """All that the whole job needs, read; into: the generator that is inverted."""
        equipment = self.equipment
        parser = equipment.parser if self.choices.mask == "auto" else None
        if equipment.way == "translate":
            return Networks(equipment.detector, parser, translator=equipment.translator)
        inverter, real = chosen_method(equipment, into).inverter(), equipment.drawing_generator()
        return Networks(equipment.detector, parser, inverter, equipment.rendering, real)

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
        picture = self.seen(source)
        found = find_faces(picture, self.equipment.detector, options, which)
        self._tell_of_small(found)
        record = self.records.align_record(which, found[0].count)
        return [
            Face.of(
                rgb_from_tensor(aligned(picture, one, self.equipment.crop_px, options)),
                Passport(source.info, (face_record(one, self.equipment.crop_px, record),)),
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
        passports = [self.records.projected_passport(face, into) for face in faces]
        found = invert_each(
            [self.tensor(face.source) for face in faces],
            self.equipment.generator(into),
            chosen_method(self.equipment, into).inverter(),
            batch=self.choices.batch,
            progress=progress,
        )
        return [
            Latents(_stored(one.codes), passport, float(one.distance[0]), one.trace, _stored_offsets(one.offsets))
            for one, passport in zip(found, passports, strict=True)
        ]

    def decode(self, codes: str | Path | Codes | Latents, *, into: GeneratorRole = "real") -> Face:
        """Draw one W+ code.

        Args:
            codes: what `project` gave, an array (1, num_ws, w_dim), or a `.npy`, `.npz` or PyTorch file.
            into: the generator that draws.

        Returns:
            The face with its passport; codes without one give a face that is its own source.

        Raises:
            ShapeMismatch: for a code of another pair, or several. InputRefused: for values that are not finite.

        Example:
            >>> refacer.Refacer(psi=1).decode("codes.npy").save("real.png")
        """
        latents = self.equipment.latents(codes)
        if len(latents.values) != 1:
            raise ShapeMismatch(f"{len(latents.values)} codes; decode_all draws several")
        return self.decode_all(latents, into=into)[0]

    def decode_all(self, latents: Latents, *, into: GeneratorRole = "real") -> list[Face]:
        """The same for (N, num_ws, w_dim): N faces."""
        generator, options = self.equipment.drawing_generator(into), self.equipment.decode_options(into)
        codes = torch.from_numpy(latents.values).to(self.equipment.device)
        passports, faces = self.records.decoded_passports(latents, into), []
        changes = _of_each(latents, self.equipment.device)
        for w, offsets, passport, code in zip(codes.split(1), changes, passports, latents.values, strict=True):
            picture = rgb_from_tensor(decoded(w, generator, options, offsets))
            if passport is None:
                own = own_passport(Source(picture).info).with_stage(self.records.decode(options, code[None]))
                faces.append(Face.of(picture, own))
            else:
                faces.append(Face.of(picture, passport, self._other_look(w, offsets, picture, into)))
        return faces

    def _other_look(
        self, code: Tensor, offsets: Mapping[str, Tensor] | None, picture: Rgb, into: GeneratorRole
    ) -> Rgb | None:
        """The rendering generator's picture of a code that is drawn as a realistic face; None where there is none.

        A generator from a file is no partner of the pair's: between the two pictures lies more than a change of look.
        """
        if into != "real" or self.choices.generator or not self.equipment.pair.has("rendering"):
            return None
        generator = self.equipment.rendering
        if (generator.num_ws, generator.w_dim) != tuple(code.shape[1:]):
            return None
        drawn = rgb_from_tensor(decoded(code, generator, self.equipment.decode_options(into), offsets))
        return drawn if drawn.shape == picture.shape else None

    def translate(self, face: Picture | Face) -> Face:
        """Give an aligned face the realistic look by the pair's distilled network, without inversion.

        Args:
            face: what `align` gave, or any square picture of an aligned face.

        Returns:
            The realistic face with its passport; the rendering that travels with it is the face itself.

        Raises:
            WeightsMissing: for a pair without such a network. ShapeMismatch: for a picture that is not square.

        Example:
            >>> refacer.Refacer().translate("face.png").save("real.png")
        """
        face = Face.read(face, max_pixels=self.choices.max_pixels)
        options = self.equipment.translate_options
        drawn = rgb_from_tensor(translated(self.tensor(face.source), self.equipment.translator, options))
        return Face.of(drawn, self.records.translated_passport(face), face.pixels)

    def strangeness(self, face: Face) -> float:
        """How far a face is from those that the distilled network knows; about 1 for one of those."""
        return float(self.equipment.translator.strangeness(self.tensor(face.source))[0])

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
        mask = mask_from_labels(labels, self.equipment.parse_options().classes)[0]
        return Mask(array_from_labels(mask) > 0, self.records.parsed_passport(face, classes=False))

    def parse_classes(self, face: Picture | Face) -> Mask:
        """All 19 classes of CelebAMask-HQ, (S, S) uint8; arguments and errors as for `parse`."""
        face = Face.read(face, max_pixels=self.choices.max_pixels)
        labels = parse(self.tensor(face.source), self.equipment.parser)[0]
        return Mask(array_from_labels(labels), self.records.parsed_passport(face, classes=True))

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
        return like_picture(image, self.paste(source, [face], [mask], allow_mismatch=allow_mismatch))

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
        canvas, blends, done = self._canvas(target), [], []
        for face, mask, record in zip(faces, masks, records, strict=True):
            options, rendering = self._how(face)
            tensor = self.tensor(face.source)
            values, history = self._mask(mask, tensor, options)
            fields = fields_of_difference(rendering, tensor) if face.translated and rendering is not None else None
            blends.append(composite_onto(canvas, Placed(tensor, values, record.quad, rendering, fields), options))
            _tell_of_empty(record.index, blends[-1])
            done.append(replace(record, stages=(*record.stages, *history)))
        return Display(target, _pasted(target, blends), Passport(target.info, tuple(done)))

    def find(self, image: Picture | Source) -> list[Found]:
        """The faces of a picture that `run` changes, from left to right. Raises NoFace."""
        options = self.equipment.options
        return find_faces(self.seen(self.read(image)), self.equipment.detector, options.align, options.faces)

    def run(
        self,
        image: Picture | Source,
        *,
        found: Sequence[Found] | None = None,
        inversions: Sequence[Inversion] | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """The whole job on one picture; as `refacer.run`, with the networks already read.

        Args:
            image: as for `refacer.run`.
            found: what `find` gave for it, where that was asked already.
            inversions: what `invert_together` gave for these faces, where that was asked already.
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
            self.seen(source),
            self.networks(),
            self.equipment.options,
            found=found,
            inversions=inversions,
            canvas=self._canvas(source),
            progress=progress,
        )
        return self._result(image, source, results)

    def invert_together(
        self, pictures: Sequence[tuple[Source, Sequence[Found]]], progress: Progress | None = None
    ) -> list[list[Inversion]]:
        """The codes of the faces of several pictures, up to the chosen `batch` at once, for `run`."""
        seen = [(self.seen(source), found) for source, found in pictures]
        return invert_together(seen, self.networks(), self.equipment.options, progress)

    def run_frame(self, source: Source, faces: Sequence[Guided], sequence: StageRecord) -> Result:
        """The whole job on a frame of a sequence, whose faces are known from its neighbours; none leaves it as it is.

        sequence: what the passport says of the neighbours.
        """
        image, canvas = self.seen(source), self._canvas(source)
        results = run_guided(image, faces, self.networks(), self.equipment.options, canvas=canvas)
        return self._result(source, source, results, (sequence,))

    def _result(
        self,
        image: Picture | Source,
        source: Source,
        results: Sequence[FaceResult],
        further: tuple[StageRecord, ...] = (),
    ) -> Result:
        """A finished picture with its passport; further: what is said of every face besides its stages."""
        self._tell_of_small([result.found for result in results])
        native = _pasted(source, [result.blend for result in results if result.blend is not None])
        for result in results:
            _tell_of_empty(result.found.index, result.blend)
        stages = [self._stages(source.info, result) for result in results]
        faces = []
        for one in stages:
            record = one.face.passport.faces[0]
            history = self.records.history(record.count, one.face.source.info, left=one.left)
            faces.append(replace(record, stages=(*history, *further)))
        display = Display(source, native, Passport(source.info, tuple(faces)))
        return Result(like_picture(image, display), tuple(stages), display)

    def _stages(self, source: SourceInfo, result: FaceResult) -> Stages:
        """The artefacts of one face, each with the passport as it was after that stage."""
        face = rgb_from_tensor(result.face)
        history = self.records.history(result.found.count, Source(face).info)
        record = face_record(result.found, self.equipment.crop_px, history[0])

        def passport(stages: int) -> Passport:
            return Passport(source, (replace(record, stages=history[:stages]),))

        found, way = result.inversion, 2 if result.inversion is None else 3  # stages up to the realistic face
        latents = found and Latents(
            _stored(found.codes), passport(2), result.apart, found.trace, _stored_offsets(found.offsets)
        )
        rendering = None if self.choices.generator and found else rgb_from_tensor(result.rendering)
        mask = None if result.mask is None else Mask(array_from_labels(result.mask[0]) > 0, passport(way + 1))
        return Stages(
            Face.of(face, passport(1)),
            latents,
            Face.of(rgb_from_tensor(result.real), passport(way), rendering),
            mask,
            result.apart,
            result.blend is None,
        )

    def _tell_of_small(self, found: Sequence[Found]) -> None:
        """Warn of faces far smaller than the largest, which may be printed on a garment, where none were chosen."""
        sides = {face.index: math.dist(face.quad[0], face.quad[3]) for face in found}
        small = [str(index) for index, side in sides.items() if side < FAR_SMALLER * max(sides.values())]
        if small and self.choices.faces is None:
            named = f"face {small[0]} is" if len(small) == 1 else f"faces {', '.join(small)} are"
            told = f"{named} less than half as large as the largest, and taken too"
            warnings.warn(f"{told}; if that is no face but a print, use --faces largest", RefacerWarning, stacklevel=3)

    def _how(self, face: Face) -> tuple[CompositeOptions, Tensor | None]:
        """How a face is pasted, and the rendering generator's picture of its code where that is needed.

        Where it did not travel along, 'auto' pastes the face itself. Raises PassportMismatch where a change is wanted
        that cannot be known.
        """
        options = self.equipment.composite_options(translated=face.translated)
        drawn = None if options.paste == "face" else face.rendering
        if drawn is not None:
            return options, tensor_from_rgb(drawn, self.equipment.device)
        if options.paste == "change":
            told = f"{face.name}: carries no rendering of its code, and --paste change needs one"
            raise PassportMismatch(f"{told}; decode the code again, give --rendering, or use --paste face")
        return replace(options, paste="face"), None

    def _mask(
        self, mask: MaskChoice, face: Tensor, options: CompositeOptions
    ) -> tuple[Tensor | None, tuple[StageRecord, ...]]:
        """A mask (1, M, M) or None, and what the passport says about it and the blending."""
        records, parsing = self.records, self.equipment.parse_options(options.paste)
        if mask is None:
            return None, (records.composite(options, "none"),)
        if isinstance(mask, str):
            values = mask_from_labels(parse(face, self.equipment.parser), parsing.classes)
            return values, (records.parse(parsing), records.composite(options))
        values = labels_from_array(mask.values.astype("uint8"), self.equipment.device)[None] > 0
        parsed = parse_record(mask.passport)
        if parsed:
            return values, (parsed, records.composite(options))
        return values, (records.composite(options, array_sha256(mask.values)),)

    def read(self, image: Picture | Source) -> Source:
        """Any form of a picture; raises InputRefused where it cannot be decoded or is too large."""
        return image if isinstance(image, Source) else read_picture(image, max_pixels=self.choices.max_pixels)

    def tensor(self, source: Source) -> Tensor:
        """What the stages see of a face: (1, 3, H, W) on the device, 8 bits deep, transparent pixels over grey."""
        return tensor_from_rgb(source.rgb, self.equipment.device)

    def seen(self, source: Source) -> Canvas:
        """The same of a picture, of which they look at parts: only these become tensors."""
        return Canvas(source.rgb, self.equipment.device)

    def _canvas(self, source: Source) -> Canvas:
        """What faces are pasted into: (1, 3, H, W) in sRGB on the device, without the loss to 8 bits."""
        return Canvas(source.srgb[..., :3], self.equipment.device)


def _stored(codes: Tensor) -> Codes:
    """Codes as they are stored."""
    return codes.float().cpu().numpy()


def _tell_of_empty(index: int, blend: Blend | None) -> None:
    """Warn of a face of which nothing was pasted; None is one that was left, which is told elsewhere."""
    if blend is not None and not bool((blend.alpha > 0).any()):
        told = f"face {index}: its mask is empty, so that nothing of it was changed"
        warnings.warn(f"{told}; give other --classes, or --mask none for all of the crop", RefacerWarning, stacklevel=3)


def _of_each(latents: Latents, device: torch.device) -> list[Mapping[str, Tensor] | None]:
    """The offsets of each code, (1, ...) by the name of their weight; raises ShapeMismatch unless all have some."""
    count = len(latents.values)
    if latents.offsets is None:
        return [None] * count
    require_offsets_of(count, latents.offsets)
    tensors = {name: torch.from_numpy(value.copy()).to(device) for name, value in latents.offsets.items()}
    return [{name: value[i : i + 1] for name, value in tensors.items()} for i in range(count)]


def _stored_offsets(offsets: Mapping[str, Tensor] | None) -> Offsets | None:
    """Weight offsets as they are stored."""
    return None if offsets is None else {name: value.half().cpu().numpy() for name, value in offsets.items()}


def _pasted(source: Source, blends: Sequence[Blend]) -> Native:
    """A picture's own pixels with finished regions written into them."""
    native, own = source.native.copy(), source.returned if source.space else None
    for blend in blends:
        paste_blend(native, blend.top, blend.left, blend.pixels, blend.alpha, grey=source.colorless, own=own)
    return native
