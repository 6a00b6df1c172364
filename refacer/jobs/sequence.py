"""`refacer run --sequence`: the frames of one sequence, in the natural order of their names, with steady faces.

Every frame is looked at twice before it is made: for its faces, then along their smoothed tracks for what the pair's
network says of them. Frames are read once as long as they fit in a share of the memory, else for each look.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from refacer import console
from refacer.device import free_memory
from refacer.engine import Refacer
from refacer.errors import RefacerError, UsageError
from refacer.files import Source, read_bytes
from refacer.jobs.ahead import in_order
from refacer.jobs.kept import Kept
from refacer.jobs.plan import Item, Plan
from refacer.options import SequenceOptions
from refacer.stages.align import align, quad_from_landmarks, side_px
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.pipeline import Found, Guided, aligned, translated
from refacer.stages.tracks import Seen, Track, find_cuts, follow, smoothed, smoothed_landmarks
from refacer.types import StageRecord

T = TypeVar("T")

KEPT_FRAC = 0.25
"""Share of the free memory in which frames are kept between their looks."""

LOOK_PX, THUMB_PX = 8, 24
"""Sides of what tells a face from another one, and a shot from the next."""

LEVELS = 255
"""Soft masks wait for their turn in 8 bits."""


def in_natural_order(plan: Plan) -> Plan:
    """The plan with frame 2 before frame 10; a gap in the numbers is told."""
    items = sorted(plan.items, key=lambda item: _natural(item.name))
    if any(item.path is None for item in items):
        raise UsageError("--sequence: takes files and folders; stdin is one picture")
    numbers = [found[-1] for item in items if (found := re.findall(r"\d+", item.key.name))]
    missing = int(numbers[-1]) - int(numbers[0]) + 1 - len(items) if len(numbers) == len(items) > 1 else 0
    if missing > 0:
        console.warn(f"--sequence: {missing} numbers between {items[0].key} and {items[-1].key} are missing")
    return replace(plan, items=tuple(items))


def require_translation(studio: Refacer) -> None:
    """Raise UsageError where the faces of a sequence would be inverted."""
    if studio.equipment.way != "translate":
        raise UsageError("--sequence: goes without inversion, and so does a video; use --way translate")


def frames_sha256(items: Sequence[Item]) -> str:
    """What all frames are, one after the other; a frame that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for item in items:
        try:
            data = read_bytes(item.path) if item.path else b""
        except RefacerError:
            data = b""
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _Frame:
    """What the first look at a frame has found. picture: it all, very small, (3, h, w); None for a missing frame."""

    faces: tuple[Seen, ...] = ()
    picture: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Steady:
    """A face along its way: its smoothed landmarks, what the network says of it, (T, 14, h, h), its masks, (T, S, S).

    masks: uint8 up to LEVELS; None for all of the crop. apart: how far it is from what the pair knows, at the median.
    """

    track: Track
    landmarks: list[Any]
    maps: Tensor
    masks: Tensor | None
    apart: float


class Sequencer:
    """Looks at all frames, and then knows what each of them needs from the others."""

    def __init__(self, studio: Refacer, items: Sequence[Item], *, at_once: int, quiet: bool) -> None:
        require_translation(studio)
        self.studio, self.items, self.at_once, self.quiet = studio, items, at_once, quiet
        self.options = SequenceOptions()
        chosen = studio.choices.faces or "all"
        self.record: StageRecord = studio.records.sequence(self.options, chosen, frames_sha256(items))
        self.kept = Kept(lambda item: studio.read(item.read()), int(KEPT_FRAC * free_memory()))
        self._places = {item.path: i for i, item in enumerate(items)}
        self._tracks: list[_Steady] | None = None

    def faces(self, item: Item) -> list[Guided]:
        """The faces of a frame, from left to right; looks at all frames when it is first asked."""
        if self._tracks is None:
            self._tracks = self._looked_at()
        i = self._places[item.path]
        here = [(steady, i - steady.track.first) for steady in self._tracks if i in steady.track.frames]
        here.sort(key=lambda one: one[0].landmarks[one[1]][0][0])
        return [self._guided(steady, t, index, len(here)) for index, (steady, t) in enumerate(here)]

    def _guided(self, steady: _Steady, t: int, index: int, count: int) -> Guided:
        device = self.studio.equipment.device
        mask = None if steady.masks is None else steady.masks[t : t + 1].to(device).float() / LEVELS
        points = steady.landmarks[t]
        found = Found(index, count, points, quad_from_landmarks(points))
        return Guided(found, steady.maps[t : t + 1].to(device), mask, steady.apart)

    def _looked_at(self) -> list[_Steady]:
        """Both looks at all frames."""
        if not self.quiet:
            console.note(f"--sequence: looking at all {len(self.items)} frames first")
        frames = self._each(self._first_look)
        cuts = find_cuts([frame.picture for frame in frames], self.options)
        if cuts and not self.quiet:
            names = ", ".join(self.items[i].key.name for i in sorted(cuts))
            console.note(f"--sequence: the picture changes at {names}; faces are followed anew from there")
        tracks = self._chosen(follow([frame.faces for frame in frames], cuts, self.options))
        smooth = [smoothed_landmarks(track, self.options) for track in tracks]
        places: list[list[tuple[int, int]]] = [[] for _ in frames]
        for k, track in enumerate(tracks):
            for t, i in enumerate(track.frames):
                places[i].append((k, t))
        said: list[list[tuple[Tensor, Tensor | None, float] | None]] = [[None] * len(points) for points in smooth]

        def second_look(item: Item) -> None:
            wanted = places[self._places[item.path]]
            source = self._source(item) if wanted else None
            for k, t in wanted if source is not None else ():
                assert source is not None
                said[k][t] = self._said_of(source, smooth[k][t])

        self._each(second_look)
        return [
            steady
            for track, points, values in zip(tracks, smooth, said, strict=True)
            if (steady := self._steady(track, points, values)) is not None
        ]

    def _first_look(self, item: Item) -> _Frame:
        source, equipment = self._source(item), self.studio.equipment
        if source is None:
            return _Frame()
        image, options = self.studio.tensor(source), equipment.align_options
        landmarks = [points for points in equipment.detector(image, options) if side_px(points) >= options.min_size_px]
        looks = [align(image, quad_from_landmarks(points), LOOK_PX, options).flatten().cpu() for points in landmarks]
        seen = tuple(Seen(points, look) for points, look in zip(landmarks, looks, strict=True))
        height, width = image.shape[2:]
        scale = THUMB_PX / max(height, width)
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        small = F.adaptive_avg_pool2d(image, size)
        return _Frame(seen, small[0].cpu())

    def _said_of(self, source: Source, landmarks: Any) -> tuple[Tensor, Tensor | None, float]:
        """What the network says of a face, its mask, and how strange it is."""
        equipment, options = self.studio.equipment, self.studio.equipment.options
        place = Found(0, 1, landmarks, quad_from_landmarks(landmarks))
        face = aligned(self.studio.tensor(source), place, equipment.crop_px, options.align)
        with torch.no_grad():
            maps, apart = equipment.translator.maps(face), float(equipment.translator.strangeness(face)[0])
            if self.studio.choices.mask != "auto":
                return maps.cpu(), None, apart
            labels = parse(translated(face, equipment.translator, options.translate, maps), equipment.parser)
        return maps.cpu(), mask_from_labels(labels, options.parse.classes).cpu(), apart

    def _steady(self, track: Track, landmarks: list[Any], said: Sequence[Any]) -> _Steady | None:
        """What is said of a face, averaged along its way; a frame that is missing counts as the one before it."""
        first = next((one for one in said if one is not None), None)
        if first is None:
            return None
        filled, last = [], first
        for one in said:
            last = last if one is None else one
            filled.append(last)
        reach = self.options.change_reach
        maps = smoothed(torch.cat([one[0] for one in filled]), reach, 1)
        masks = None
        if first[1] is not None:
            soft = smoothed(torch.cat([one[1] for one in filled]).float(), reach, 1).clamp(0, 1)
            masks = (soft * LEVELS).round().to(torch.uint8)
        return _Steady(track, landmarks, maps, masks, float(np.median([one[2] for one in filled])))

    def _chosen(self, tracks: list[Track]) -> list[Track]:
        """The tracks that --faces means: all, the largest, or numbers in the order in which they appear."""
        chosen = self.studio.choices.faces or "all"
        if chosen == "all" or not tracks:
            return tracks
        if chosen == "largest":
            return [max(tracks, key=lambda track: sum(side_px(points) for points in track.landmarks))]
        wanted = {int(number) for number in chosen.split(",")}
        if max(wanted) >= len(tracks):
            raise UsageError(f"--faces {chosen}: the sequence has {len(tracks)} face(s), numbered as they appear")
        return [track for i, track in enumerate(tracks) if i in wanted]

    def _source(self, item: Item) -> Source | None:
        """A frame; None for one that cannot be read, which is told when its turn comes."""
        try:
            return self.kept.source(item)
        except RefacerError:
            return None

    def _each(self, work: Callable[[Item], T]) -> list[T]:
        """Let all frames be looked at, several at once."""
        self.studio.networks()
        threads = max(self.at_once, 1)
        return [result() for _, result in in_order(work, self.items, threads=threads, ahead=2 * threads)]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which 2 comes before 10; folders first as they are named."""
    parts = re.findall(r"\d+|\D+", str(Path(name)))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
