"""A frame of a sequence: as `pipeline.run`, with what the frames before and after it say of its faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from refacer.images.canvas import Picture
from refacer.stages.inversion import Inversion
from refacer.stages.pipeline import (
    FaceResult,
    Found,
    Looks,
    Networks,
    Placed,
    RunOptions,
    aligned,
    composite_onto,
    decoded_look,
    translated_look,
)

HALF = 0.5
"""Above it a soft mask counts as one."""


@dataclass(frozen=True)
class Guided:
    """A face of a frame, with what its neighbours in time say of it.

    mask: (1, S, S) in [0, 1], None for all of the crop; apart: how far the face of this track is from what is known;
    codes: by inversion, w+ of this face, (1, num_ws, w_dim); maps: without it, (1, 14, h, h) of the translator.
    """

    found: Found
    mask: Tensor | None
    apart: float
    codes: Tensor | None = None
    maps: Tensor | None = None


def run_guided(
    image: Picture, faces: Sequence[Guided], networks: Networks, options: RunOptions, *, canvas: Picture | None = None
) -> list[FaceResult]:
    """As `pipeline.run` for a frame of a sequence whose faces are known."""
    size = options.align.size
    assert size is not None
    canvas = (image if canvas is None else canvas).clone()
    results = []
    for one in faces:
        face = aligned(image, one.found, size, options.align)
        look = _look(face, one, networks, options)
        placed = Placed(look.real, one.mask, one.found.quad, look.rendering, look.fields)
        left = options.limit is not None and one.apart > options.limit
        blend = None if left else composite_onto(canvas, placed, options.composite)
        mask = None if one.mask is None else one.mask >= HALF
        results.append(
            FaceResult(one.found, face, look.inversion, look.real, look.rendering, None, mask, one.apart, blend)
        )
    return results


def _look(face: Tensor, one: Guided, networks: Networks, options: RunOptions) -> Looks:
    """A face in both looks as its neighbours say."""
    if one.codes is not None:
        return decoded_look(Inversion(one.codes, one.codes.new_tensor([one.apart])), networks, options)
    assert networks.translator is not None
    return translated_look(face, networks.translator, options, one.apart, one.maps)
