"""What is said of a face along its way through the frames, made steady; here by the pair's distilled network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from refacer.jobs.frames import Frames
from refacer.options import SequenceOptions
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.pipeline import translated
from refacer.stages.tracks import Track, smoothed
from refacer.types import Points

T = TypeVar("T")

LEVELS = 255
"""Soft masks wait for their turn in 8 bits."""


@dataclass(frozen=True, eq=False)
class Way:
    """A face's way through the frames, and its smoothed landmarks."""

    track: Track
    landmarks: list[Points]


@dataclass(frozen=True, eq=False)
class Steady:
    """A face along its way. masks: (T, S, S) uint8 up to LEVELS, None for all of the crop; apart: how far it is from
    what the pair knows, at the median; codes: by inversion, (T, num_ws, w_dim); maps: without, (T, 14, h, h)."""

    way: Way
    masks: Tensor | None
    apart: float
    codes: Tensor | None = None
    maps: Tensor | None = None


def steady_maps(frames: Frames, ways: Sequence[Way], options: SequenceOptions) -> list[Steady]:
    """What the distilled network says of every face, averaged along its way."""
    places: list[list[tuple[int, int]]] = [[] for _ in frames.items]
    for k, way in enumerate(ways):
        for t, i in enumerate(way.track.frames):
            places[i].append((k, t))
    said: list[list[_Said | None]] = [[None] * len(way.landmarks) for way in ways]

    def look(i: int) -> None:
        source = frames.source(i) if places[i] else None
        for k, t in places[i] if source is not None else ():
            assert source is not None
            said[k][t] = _said_of(frames.face(source, ways[k].landmarks[t]), frames)

    frames.each(look, range(len(frames.items)))
    found = []
    for way, values in zip(ways, said, strict=True):
        if known := without_gaps(values):
            maps = smoothed(torch.cat([one.maps for one in known]), options.change_reach, 1)
            masks = soft_masks([one.mask for one in known], options)
            found.append(Steady(way, masks, float(np.median([one.apart for one in known])), maps=maps))
    return found


def without_gaps(values: Sequence[T | None]) -> list[T]:
    """Values along a way where a frame that is missing counts as the one before it; empty where all are missing."""
    known = [value for value in values if value is not None]
    filled: list[T] = []
    for value in values if known else ():
        last = filled[-1] if filled else known[0]
        filled.append(last if value is None else value)
    return filled


def soft_masks(masks: Sequence[Tensor | None], options: SequenceOptions) -> Tensor | None:
    """Masks (1, S, S) bool along a way, averaged: (T, S, S) uint8; None where all of the crop is pasted."""
    known = [mask for mask in masks if mask is not None]
    if not known:
        return None
    soft = smoothed(torch.cat(known).float(), options.change_reach, 1).clamp(0, 1)
    return (soft * LEVELS).round().to(torch.uint8)


@dataclass(frozen=True, eq=False)
class _Said:
    """What the network says of a face, (1, 14, h, h), its mask (1, S, S), and how strange it is."""

    maps: Tensor
    mask: Tensor | None
    apart: float


@torch.no_grad()
def _said_of(face: Tensor, frames: Frames) -> _Said:
    # The encoder passes over other pictures each time: maps are drawn of the face without its clipped highlights.
    equipment, options = frames.studio.equipment, frames.studio.equipment.options
    maps, apart = equipment.translator.maps(face), float(equipment.translator.strangeness(face)[0])
    said = _Said(maps.cpu(), None, apart)
    if frames.studio.choices.mask != "auto":
        return said
    labels = parse(translated(face, equipment.translator, options.translate, maps), equipment.parser)
    return replace(said, mask=mask_from_labels(labels, options.parse.classes).cpu())
