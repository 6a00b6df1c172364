"""The whole job for one picture: align, project, decode, parse and composite every chosen face (the paper's pipeline).

Between stages a face is snapped to the values of an 8-bit file, so that the chain of commands gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from refacer.errors import NoFace, ShapeMismatch
from refacer.images.canvas import Picture
from refacer.images.pixels import snap
from refacer.networks.parser import FaceParser
from refacer.networks.stylegan2.networks import Generator
from refacer.networks.translator import Translator
from refacer.options import (
    PROJECT_BATCH,
    AlignOptions,
    CompositeOptions,
    DecodeOptions,
    ParseOptions,
    TranslateOptions,
)
from refacer.stages.align import align, quad_from_landmarks, select_faces, side_px
from refacer.stages.change import fields_of_difference
from refacer.stages.composite import Blend, composite
from refacer.stages.decode import decode
from refacer.stages.inversion import Inversion, Inverter, Offsets, invert_each
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.translate import translate
from refacer.types import Points, Progress

Detector = Callable[[Picture, AlignOptions], list[Points]]
"""(1, 3, H, W) in [-1, 1] -> landmarks of each face, from left to right."""


@dataclass(frozen=True)
class Networks:
    """All that is learned: the face detector, the parser (None where no mask is wanted), and one of two ways.

    By inversion: what finds codes, the generator that is inverted, and the realistic one. Without it: the pair's
    distilled network.
    """

    detector: Detector
    parser: FaceParser | None
    inverter: Inverter | None = None
    rendering: Generator | None = None
    real: Generator | None = None
    translator: Translator | None = None


@dataclass(frozen=True)
class RunOptions:
    """The options of every stage; faces as `select_faces` takes it; batch: faces projected at once."""

    align: AlignOptions = field(default_factory=AlignOptions)
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    parse: ParseOptions = field(default_factory=ParseOptions)
    composite: CompositeOptions = field(default_factory=CompositeOptions)
    translate: TranslateOptions = field(default_factory=TranslateOptions)
    limit: float | None = None  # a face that stays farther apart is left as it is
    faces: str = "all"
    batch: int = PROJECT_BATCH


@dataclass(frozen=True)
class Found:
    """A face in a picture: its place among all of them from the left, 68 landmarks and FFHQ's quad."""

    index: int
    count: int
    landmarks: Points
    quad: Points


@dataclass(frozen=True)
class Placed:
    """A new face, (1, 3, S, S), its mask, (1, S, S) bool or in [0, 1] or None for all of it, and where it goes.

    rendering: the rendering generator's picture of it, fields: the change itself, (1, 12, h, w); see `composite`.
    """

    face: Tensor
    mask: Tensor | None
    quad: Points
    rendering: Tensor | None = None
    fields: Tensor | None = None


@dataclass(frozen=True)
class FaceResult:
    """One face through all stages.

    face, real and rendering, G_rendering's picture of the same code (the face itself without inversion): (1, 3, S, S)
    snapped; labels (uint8), mask (bool): (1, S, S) or None. inversion: None without inversion. apart: how far the face
    is from what the pair knows, by Eq. 4 or the distilled network's own measure. blend: None for a face that is left.
    """

    found: Found
    face: Tensor
    inversion: Inversion | None
    real: Tensor
    rendering: Tensor
    labels: Tensor | None
    mask: Tensor | None
    apart: float
    blend: Blend | None


def run(
    image: Picture,
    networks: Networks,
    options: RunOptions,
    *,
    found: Sequence[Found] | None = None,
    inversions: Sequence[Inversion] | None = None,
    canvas: Picture | None = None,
    progress: Progress | None = None,
) -> list[FaceResult]:
    """Every chosen face of a picture (1, 3, H, W) in [-1, 1], in order; the picture itself is not changed.

    found: the faces, where `find_faces` was asked already, inversions: theirs, where `invert_together` was. canvas:
    what is pasted into, where its colours are not those looked at (transparency, 16 bits). Raises NoFace, ShapeMismatch
    where the generators do not share codes, and what the stages raise.
    """
    if found is None:
        found = find_faces(image, networks.detector, options.align, options.faces)
    assert options.align.size is not None, "only who knows the pair knows the size"
    faces = [aligned(image, face, options.align.size, options.align) for face in found]
    looks = _both_looks(faces, networks, options, inversions, progress)
    labels = [parse(look.real, networks.parser) if networks.parser else None for look in looks]
    masks = [None if known is None else mask_from_labels(known, options.parse.classes) for known in labels]
    within = [options.limit is None or look.apart <= options.limit for look in looks]
    placed = [
        Placed(look.real, mask, face.quad, look.rendering, look.fields)
        for look, mask, face, kept in zip(looks, masks, found, within, strict=True)
        if kept
    ]
    blends = iter(composite_all(image if canvas is None else canvas, placed, options.composite))
    return [
        FaceResult(
            one, face, look.inversion, look.real, look.rendering, known, mask, look.apart,
            next(blends) if kept else None,
        )
        for one, face, look, known, mask, kept in zip(found, faces, looks, labels, masks, within, strict=True)
    ]  # fmt: skip


class Looks(NamedTuple):
    """A face in both looks, (1, 3, S, S) snapped each, and how far it is from what is known.

    inversion: how it was found; fields: without inversion, the change itself.
    """

    real: Tensor
    rendering: Tensor
    apart: float
    inversion: Inversion | None = None
    fields: Tensor | None = None


def invert_together(
    pictures: Sequence[tuple[Picture, Sequence[Found]]],
    networks: Networks,
    options: RunOptions,
    progress: Progress | None = None,
) -> list[list[Inversion]]:
    """What `run` would find for the faces of several pictures (1, 3, H, W), which share batches here."""
    assert options.align.size is not None
    size = options.align.size
    faces = [aligned(image, face, size, options.align) for image, found in pictures for face in found]
    inversions = iter(_inverted(faces, networks, options, progress))
    return [[next(inversions) for _ in found] for _, found in pictures]


def _both_looks(
    faces: Sequence[Tensor],
    networks: Networks,
    options: RunOptions,
    inversions: Sequence[Inversion] | None,
    progress: Progress | None,
) -> list[Looks]:
    """Every face's realistic picture, by the way that the networks are there for."""
    translator = networks.translator
    if translator is not None:
        apart = [float(translator.strangeness(face)[0]) for face in faces]
        return [translated_look(face, translator, options, far) for face, far in zip(faces, apart, strict=True)]
    found = _inverted(faces, networks, options, progress) if inversions is None else inversions
    return [decoded_look(one, networks, options) for one in found]


def _inverted(
    faces: Sequence[Tensor], networks: Networks, options: RunOptions, progress: Progress | None
) -> list[Inversion]:
    """The codes of faces, in batches."""
    inverter, rendering, real = networks.inverter, networks.rendering, networks.real
    assert inverter is not None
    assert rendering is not None
    assert real is not None
    _check_pair(rendering, real)
    return invert_each(faces, rendering, inverter, batch=options.batch, progress=progress)


def translated_look(
    face: Tensor, translator: Translator, options: RunOptions, apart: float, maps: Tensor | None = None
) -> Looks:
    """A face in both looks without inversion."""
    real = translated(face, translator, options.translate, maps)
    return Looks(real, face, apart, fields=fields_of_difference(face, real))


def decoded_look(found: Inversion, networks: Networks, options: RunOptions) -> Looks:
    """A code's pictures by both generators."""
    real, rendering = networks.real, networks.rendering
    assert real is not None
    assert rendering is not None
    drawn, rendered = (decoded(found.codes, one, options.decode, found.offsets) for one in (real, rendering))
    return Looks(drawn, rendered, float(found.distance[0]), found)


def find_faces(image: Picture, detector: Detector, options: AlignOptions, which: str) -> list[Found]:
    """The chosen faces that are large enough; raises NoFace where there is none, UsageError for a wrong choice."""
    landmarks = [face for face in detector(image, options) if side_px(face) >= options.min_size_px]
    if not landmarks:
        raise NoFace(f"no face of at least {options.min_size_px} px found; lower --min-size or try another --detector")
    count = len(landmarks)
    return [Found(i, count, landmarks[i], quad_from_landmarks(landmarks[i])) for i in select_faces(landmarks, which)]


def aligned(image: Picture, face: Found, size: int, options: AlignOptions) -> Tensor:
    """A face as its file holds it: (1, 3, size, size)."""
    return snap(align(image, face.quad, size, options)).contiguous()


def decoded(codes: Tensor, generator: Generator, options: DecodeOptions, offsets: Offsets | None = None) -> Tensor:
    """Pictures of codes, and of the offsets that belong to them, as their files hold them: (N, 3, R, R)."""
    return snap(decode(codes, generator, options, offsets)).contiguous()


def translated(face: Tensor, translator: Translator, options: TranslateOptions, maps: Tensor | None = None) -> Tensor:
    """The realistic picture of a face (1, 3, S, S) as its file holds it, without inversion; maps: as `translate`."""
    return snap(translate(face, translator, options, maps)).contiguous()


def composite_all(canvas: Picture, faces: Sequence[Placed], options: CompositeOptions) -> list[Blend]:
    """Every face in turn, each into the picture (1, 3, H, W) with the faces before it."""
    canvas = canvas.clone()
    return [composite_onto(canvas, placed, options) for placed in faces]


def composite_onto(canvas: Picture, placed: Placed, options: CompositeOptions) -> Blend:
    """One face into the picture (1, 3, H, W), which is changed."""
    mask = None if placed.mask is None else placed.mask[:, None]
    blend = composite(canvas, placed.face, mask, placed.quad, options, rendering=placed.rendering, fields=placed.fields)
    height, width = blend.pixels.shape[2:]
    canvas[:, :, blend.top : blend.top + height, blend.left : blend.left + width] = blend.pixels
    return blend


def _check_pair(rendering: Generator, real: Generator) -> None:
    """The code of one generator must fit the other."""
    ours, theirs = ((g.num_ws, g.w_dim) for g in (rendering, real))
    if ours != theirs:
        raise ShapeMismatch(
            f"codes are {ours} here and {theirs} in the realistic generator; use generators of one pair"
        )
