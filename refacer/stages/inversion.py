"""Inversion: from faces to codes whose pictures look like them. One face is a batch of one to every inverter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from refacer.device import in_batches, one_thread, suits_one_thread
from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.networks import Generator
from refacer.options import PROJECT_BATCH
from refacer.types import Progress

Offsets = Mapping[str, Tensor]
"""Changes of a generator's weights, one set a face: a weight's name to (N, *broadcastable to its shape).

The weight becomes weight (1 + offset).
"""


@dataclass(frozen=True)
class Inversion:
    """What an inverter finds for N faces.

    codes: w+*, (N, num_ws, w_dim). distance: LPIPS(x, G(w+*)) as in Eq. 4, (N,). offsets: what belongs to the codes
    where the generator's weights change with them. trace: one entry a step of an optimisation: step, lr, code_noise,
    and as one number a face distance, noise_loss and prior, which is 0 where it has no weight.
    """

    codes: Tensor
    distance: Tensor
    offsets: Offsets | None = None
    trace: list[dict[str, Any]] = field(default_factory=list)


class Inverter(Protocol):
    """A way to codes, with all that it needs."""

    def __call__(self, faces: Tensor, generator: Generator, *, progress: Progress | None = None) -> Inversion:
        """Codes of faces (N, 3, S, S) in [-1, 1], of which each is found as if it were alone; S is any size.

        Random numbers come from seeded sources, one a face. progress: called with (steps done, steps in all).
        Raises ShapeMismatch for other shapes.
        """
        ...


def invert_each(
    faces: Sequence[Tensor],
    generator: Generator,
    inverter: Inverter,
    *,
    batch: int = PROJECT_BATCH,
    progress: Progress | None = None,
) -> list[Inversion]:
    """One inversion a face of (1, 3, S, S): up to `batch` of one size at once, fewer where memory does not suffice.

    progress counts the steps of all faces.
    """
    done: list[Inversion] = []

    def work(chunk: Sequence[Tensor]) -> list[Inversion]:
        inner = _shifted(progress, len(done), len(chunk), len(faces))
        done.extend(_split(inverter(torch.cat(list(chunk)), generator, progress=inner)))
        return done[-len(chunk) :]

    on_cpu = bool(faces) and suits_one_thread(faces[0].device, generator.img_resolution)
    with one_thread(on_cpu):
        for _, group in groupby(faces, key=lambda face: face.shape):
            in_batches(work, list(group), batch)
    return done


def fitted_faces(faces: Tensor, side: int) -> Tensor:
    """Faces at another size, float32: the area's mean downwards, bicubic upwards; raises ShapeMismatch for others."""
    if faces.ndim != 4 or faces.shape[1] != 3 or faces.shape[2] != faces.shape[3]:
        raise ShapeMismatch(f"faces have shape {tuple(faces.shape)}; they must be square and RGB: (N, 3, S, S)")
    faces = faces.float()
    if faces.shape[-1] > side:
        return F.interpolate(faces, size=(side, side), mode="area")
    if faces.shape[-1] < side:
        return F.interpolate(faces, size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)
    return faces


def _split(joint: Inversion) -> Iterator[Inversion]:
    """The faces of a batch apart; a trace's lists are one number a face."""
    for i in range(len(joint.codes)):
        trace = [{k: v[i] if isinstance(v, list) else v for k, v in row.items()} for row in joint.trace]
        offsets = joint.offsets and {name: value[i : i + 1] for name, value in joint.offsets.items()}
        yield Inversion(joint.codes[i : i + 1].contiguous(), joint.distance[i : i + 1], offsets, trace)


def _shifted(progress: Progress | None, before: int, now: int, total: int) -> Progress | None:
    """Progress of a chunk as progress of all faces."""
    if progress is None:
        return None
    return lambda step, steps: progress(before * steps + step * now, total * steps)
