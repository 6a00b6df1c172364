"""Parse: label the parts of aligned faces and make the mask of what is pasted (Appendix B), cleaned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.errors import UsageError
from refacer.networks.parser import CLASS_IDS, FaceParser
from refacer.options import PASTED_CLASSES

FLOOD_PX = 128  # islands and holes are looked for in masks shrunk to this side
CENTRE_FRAC = 0.25  # half the side of the square in the crop's middle where the face must be
ISLAND_GAP_PX = 2  # of FLOOD_PX: parts nearer to the face than this belong to it
HOLE_RADIUS_PX = 2  # of FLOOD_PX: a hole in which a square of this radius fits is no mistake
HOLE_CLASSES = ("background", "neck", "cloth")  # what a mistaken hole is labelled; an earring or a hat is none


@torch.no_grad()
def parse(faces: Tensor, parser: FaceParser) -> Tensor:
    """(N, 3, S, S) in [-1, 1] -> uint8 class ids (N, S, S) in BiSeNet's order."""
    return parser(faces).argmax(dim=1).to(torch.uint8)


def mask_from_labels(labels: Tensor, classes: Sequence[str] = PASTED_CLASSES) -> Tensor:
    """uint8 class ids (N, S, S) -> bool (N, S, S): the pixels of `classes`, without stray islands and small holes.

    An island is a patch that more than a narrow gap separates from the head in the middle of the crop.
    Raises UsageError for an unknown class.
    """
    unknown = [name for name in classes if name not in CLASS_IDS]
    if unknown:
        raise UsageError(f"--classes {unknown[0]}: not a class; choose among {', '.join(CLASS_IDS)}")
    member = _among(labels, classes)
    filled = member | (_small_holes(member) & _among(labels, HOLE_CLASSES))
    return filled & _head(filled | _among(labels, PASTED_CLASSES))


def _among(labels: Tensor, classes: Iterable[str]) -> Tensor:
    """Where a label is of one of the classes."""
    ids = [identity for name in classes for identity in CLASS_IDS[name]]
    return torch.isin(labels, torch.tensor(ids, dtype=labels.dtype, device=labels.device))


def _head(candidate: Tensor) -> Tensor:
    """The part of a mask (N, S, S) that is connected with the crop's centre; True everywhere if the centre is empty."""
    coarse = _shrunk(candidate)
    size = coarse.shape[-1]
    low, high = round(size * (0.5 - CENTRE_FRAC)), round(size * (0.5 + CENTRE_FRAC))
    seeds = torch.zeros_like(coarse)
    seeds[:, :, low:high, low:high] = coarse[:, :, low:high, low:high]
    reached = _flooded(seeds, coarse, ISLAND_GAP_PX)
    empty = seeds.amax(dim=(1, 2, 3), keepdim=True) == 0
    return _enlarged(torch.maximum(reached, empty.float()), candidate)


def _small_holes(member: Tensor) -> Tensor:
    """Gaps in a mask that touch no border and hold no square of HOLE_RADIUS_PX. bool (N, S, S)."""
    outside = _shrunk(~member)
    seeds = -F.max_pool2d(-outside, 2 * HOLE_RADIUS_PX + 1, 1, HOLE_RADIUS_PX)
    border = torch.ones_like(outside)
    border[:, :, 1:-1, 1:-1] = 0
    kept = _flooded(torch.maximum(seeds, border * outside), outside, 1)
    return ~member & ~_enlarged(kept, member)


def _flooded(seeds: Tensor, within: Tensor, step_px: int) -> Tensor:
    """Grow the seeds (N, 1, s, s) inside a mask until nothing changes; a step bridges gaps narrower than `step_px`."""
    while True:
        grown = F.max_pool2d(seeds, 2 * step_px + 1, 1, step_px) * within
        if torch.equal(grown, seeds):
            return grown
        seeds = grown


def _shrunk(mask: Tensor) -> Tensor:
    """bool (N, S, S) -> float (N, 1, s, s) with s at most FLOOD_PX, 1 where any of a cell's pixels is."""
    size = min(FLOOD_PX, mask.shape[-1])
    return F.adaptive_max_pool2d(mask[:, None].float(), size)


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    """Float (N, 1, s, s) -> bool of the size of `like` (N, S, S)."""
    return F.interpolate(coarse, size=like.shape[1:], mode="nearest")[:, 0] > 0
