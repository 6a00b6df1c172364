"""The whole job for one picture: align, project, decode, parse and composite every chosen face (the paper's pipeline).

Between stages a face is snapped to the values of an 8-bit file, so that the chain of commands gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from refacer.device import in_batches
from refacer.errors import NoFace, ShapeMismatch
from refacer.images.pixels import snap
from refacer.networks.parser import FaceParser
from refacer.networks.perceptual import Perceptual
from refacer.networks.stylegan2.networks import Generator
from refacer.options import (
    PROJECT_BATCH,
    AlignOptions,
    CompositeOptions,
    DecodeOptions,
    ParseOptions,
    ProjectOptions,
)
from refacer.stages.align import align, quad_from_landmarks, select_faces, side_px
from refacer.stages.composite import Blend, composite
from refacer.stages.decode import decode
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.project import Projection, Projector, project
from refacer.types import Points, Progress

Detector = Callable[[Tensor, AlignOptions], list[Points]]
"""(1, 3, H, W) in [-1, 1] -> landmarks of each face, from left to right."""


@dataclass(frozen=True)
class Networks:
    """All that is learned: the pair's two generators, the distance of Eq. 4, the parser, the face detector."""

    detector: Detector
    rendering: Generator
    real: Generator
    perceptual: Perceptual
    parser: FaceParser | None  # None where no mask is wanted
    w_std: float

    @property
    def projector(self) -> Projector:
        """What inverts the rendering generator."""
        return Projector(self.rendering, self.perceptual, self.w_std)


@dataclass(frozen=True)
class RunOptions:
    """The options of every stage; faces as `select_faces` takes it; batch: faces projected at once."""

    align: AlignOptions = field(default_factory=AlignOptions)
    project: ProjectOptions = field(default_factory=ProjectOptions)
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    parse: ParseOptions = field(default_factory=ParseOptions)
    composite: CompositeOptions = field(default_factory=CompositeOptions)
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
    """A new face, (1, 3, S, S), its mask, (1, S, S) bool or None for all of it, and where it goes."""

    face: Tensor
    mask: Tensor | None
    quad: Points


@dataclass(frozen=True)
class FaceResult:
    """One face through all stages.

    face, real and rendering, G_rendering's picture of the same code: (1, 3, S, S) snapped; labels (uint8), mask (bool):
    (1, S, S) or None.
    """

    found: Found
    face: Tensor
    projection: Projection
    real: Tensor
    rendering: Tensor
    labels: Tensor | None
    mask: Tensor | None
    blend: Blend


def run(
    image: Tensor,
    networks: Networks,
    options: RunOptions,
    *,
    canvas: Tensor | None = None,
    init: Tensor | None = None,
    progress: Progress | None = None,
) -> list[FaceResult]:
    """Every chosen face of a picture (1, 3, H, W) in [-1, 1], in order; the picture itself is not changed.

    canvas: what is pasted into, where its colours are not those looked at (transparency, 16 bits). init: codes to start
    from instead of the average. Raises NoFace, ShapeMismatch where the generators do not share codes, and what the
    stages raise.
    """
    _check_pair(networks)
    found = find_faces(image, networks.detector, options.align, options.faces)
    size = options.align.size or networks.rendering.img_resolution
    faces = [aligned(image, face, size, options.align) for face in found]
    projections = project_each(
        faces, networks.projector, options.project, batch=options.batch, init=init, progress=progress
    )
    reals = [decoded(projection.codes, networks.real, options.decode) for projection in projections]
    renderings = [decoded(projection.codes, networks.rendering, options.decode) for projection in projections]
    labels = [parse(real, networks.parser) if networks.parser else None for real in reals]
    masks = [None if known is None else mask_from_labels(known, options.parse.classes) for known in labels]
    placed = [Placed(*triple) for triple in zip(reals, masks, (face.quad for face in found), strict=True)]
    blends = composite_all(image if canvas is None else canvas, placed, options.composite)
    columns = zip(found, faces, projections, reals, renderings, labels, masks, blends, strict=True)
    return [FaceResult(*column) for column in columns]


def find_faces(image: Tensor, detector: Detector, options: AlignOptions, which: str) -> list[Found]:
    """The chosen faces that are large enough; raises NoFace where there is none, UsageError for a wrong choice."""
    landmarks = [face for face in detector(image, options) if side_px(face) >= options.min_size_px]
    if not landmarks:
        raise NoFace(f"no face of at least {options.min_size_px} px found; lower --min-size or try another --detector")
    count = len(landmarks)
    return [Found(i, count, landmarks[i], quad_from_landmarks(landmarks[i])) for i in select_faces(landmarks, which)]


def aligned(image: Tensor, face: Found, size: int, options: AlignOptions) -> Tensor:
    """A face as its file holds it: (1, 3, size, size)."""
    return snap(align(image, face.quad, size, options)).contiguous()


def decoded(codes: Tensor, generator: Generator, options: DecodeOptions) -> Tensor:
    """Pictures of codes as their files hold them: (N, 3, R, R)."""
    return snap(decode(codes, generator, options)).contiguous()


def composite_all(canvas: Tensor, faces: Sequence[Placed], options: CompositeOptions) -> list[Blend]:
    """Every face in turn, each into the picture (1, 3, H, W) with the faces before it."""
    blends: list[Blend] = []
    canvas = canvas.clone()
    for placed in faces:
        mask = None if placed.mask is None else placed.mask[:, None]
        blend = composite(canvas, placed.face, mask, placed.quad, options)
        height, width = blend.pixels.shape[2:]
        canvas[:, :, blend.top : blend.top + height, blend.left : blend.left + width] = blend.pixels
        blends.append(blend)
    return blends


def project_each(
    faces: Sequence[Tensor],
    projector: Projector,
    options: ProjectOptions,
    *,
    batch: int = PROJECT_BATCH,
    init: Tensor | None = None,
    progress: Progress | None = None,
) -> list[Projection]:
    """One projection a face of (1, 3, S, S): up to `batch` of one size at once, fewer where memory does not suffice.

    init: codes to start from, as `project` takes them; progress counts the steps of all faces.
    """
    generator, perceptual, w_std = projector.generator, projector.perceptual, projector.w_std
    done: list[Projection] = []

    def work(chunk: Sequence[Tensor]) -> list[Projection]:
        inner = _shifted(progress, len(done), len(chunk), len(faces))
        joint = project(torch.cat(list(chunk)), generator, perceptual, w_std, options, init=init, progress=inner)
        done.extend(_split(joint))
        return done[-len(chunk) :]

    for _, group in groupby(faces, key=lambda face: face.shape):
        in_batches(work, list(group), batch)
    return done


def _check_pair(networks: Networks) -> None:
    """The code of one generator must fit the other."""
    ours, theirs = ((g.num_ws, g.w_dim) for g in (networks.rendering, networks.real))
    if ours != theirs:
        raise ShapeMismatch(
            f"codes are {ours} here and {theirs} in the realistic generator; use generators of one pair"
        )


def _split(joint: Projection) -> Iterator[Projection]:
    """The faces of a batch apart; a trace's lists are one number a face."""
    for i in range(len(joint.codes)):
        trace = [{k: v[i] if isinstance(v, list) else v for k, v in row.items()} for row in joint.trace]
        yield Projection(joint.codes[i : i + 1].contiguous(), joint.distance[i : i + 1], trace)


def _shifted(progress: Progress | None, before: int, now: int, total: int) -> Progress | None:
    """Progress of a chunk as progress of all faces."""
    if progress is None:
        return None
    return lambda step, steps: progress(before * steps + step * now, total * steps)
