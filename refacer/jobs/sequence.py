"""`refacer run --sequence`: the frames of one sequence, in the natural order of their names, with steady faces.

Every frame is looked at twice before it is made: for its faces, then along their smoothed tracks for what the pair's
network says of them, or for their codes. Frames are read once as long as they fit in a share of the memory, else for
each look.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from refacer import console
from refacer.engine import Refacer
from refacer.errors import RefacerError, UsageError
from refacer.files import read_bytes
from refacer.files.urls import is_url
from refacer.jobs.frames import Frames
from refacer.jobs.kept import Kept
from refacer.jobs.plan import Item, Plan
from refacer.jobs.steady import LEVELS, Steady, Way, steady_maps
from refacer.jobs.steady_codes import CodesAlong, FoundCodes, following
from refacer.options import FollowOptions, SequenceOptions
from refacer.stages.align import align, quad_from_landmarks, side_px
from refacer.stages.guided import Guided
from refacer.stages.pipeline import Found
from refacer.stages.tracks import Seen, Track, find_cuts, follow, smoothed_landmarks
from refacer.types import StageRecord

LOOK_PX, THUMB_PX = 8, 24
"""Sides of what tells a face from another one, and a shot from the next."""


def in_natural_order(plan: Plan) -> Plan:
    """The plan with frame 2 before frame 10; a gap in the numbers is told."""
    items = sorted(plan.items, key=lambda item: natural(item.name))
    if any(item.path is None for item in items):
        raise UsageError("--sequence: takes files and folders; stdin is one picture")
    numbers = [found[-1] for item in items if (found := re.findall(r"\d+", item.key.name))]
    missing = int(numbers[-1]) - int(numbers[0]) + 1 - len(items) if len(numbers) == len(items) > 1 else 0
    if missing > 0:
        told = "1 number is" if missing == 1 else f"{missing} numbers are"
        console.warn(f"--sequence: {told} missing between {items[0].key} and {items[-1].key}")
    return replace(plan, items=tuple(items))


def require_steadiness(studio: Refacer) -> bool:
    """Whether a sequence goes by inversion; raises UsageError for a way to codes that knows no last frame."""
    if studio.equipment.way == "translate":
        return False
    _ = following(studio)
    return True


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
class _Seen:
    """What the first look at a frame has found. picture: it all, very small, (3, h, w), None for a missing frame;
    size: its height and width."""

    faces: tuple[Seen, ...] = ()
    picture: Tensor | None = None
    size: tuple[int, int] = (0, 0)


class Sequencer:
    """Looks at all frames, and then knows what each of them needs from the others."""

    def __init__(
        self, studio: Refacer, items: Sequence[Item], folder: Path | None, *, at_once: int, quiet: bool
    ) -> None:
        self.studio, self.items, self.options = studio, items, SequenceOptions()
        self.follow = FollowOptions() if require_steadiness(studio) else None
        chosen = studio.choices.faces or "all"
        self.record: StageRecord = studio.records.sequence(self.options, chosen, frames_sha256(items), self.follow)
        self._frames = Frames(studio, items, at_once=at_once)
        self._codes = FoundCodes(None if folder is None or is_url(folder) else folder, self._settings())
        self._tell = console.silent if quiet else console.note
        self._places = {item.path: i for i, item in enumerate(items)}
        self._faces: list[Steady] | None = None

    @property
    def kept(self) -> Kept:
        """The frames that have been read."""
        return self._frames.kept

    def faces(self, item: Item) -> list[Guided]:
        """The faces of a frame, from left to right; looks at all frames when it is first asked.

        What goes wrong there ends all.
        """
        if self._faces is None:
            try:
                self._faces = self._looked_at()
            except RefacerError as error:
                error.ends_all = True
                raise
        i = self._places[item.path]
        here = [(steady, i - steady.way.track.first) for steady in self._faces if i in steady.way.track.frames]
        here.sort(key=lambda one: one[0].way.landmarks[one[1]][0][0])
        return [self._guided(steady, t, index, len(here)) for index, (steady, t) in enumerate(here)]

    def tidy(self) -> None:
        """Forget the codes that would let the same command go on, where all is written that can be."""
        if self._codes.are_there and all(map(self._is_over, range(len(self.items)))):
            self._codes.clear()

    def _is_over(self, index: int) -> bool:
        """Whether a frame is written, or cannot be."""
        output = self.items[index].output
        return (output is not None and output.is_file()) or self._frames.source(index) is None

    def _settings(self) -> str:
        """All that decides the codes."""
        stages = (*self.studio.records.as_now(1), self.record)
        return json.dumps([vars(one) for one in stages], sort_keys=True)

    def _guided(self, steady: Steady, t: int, index: int, count: int) -> Guided:
        device = self.studio.equipment.device
        mask, codes, maps = (
            None if values is None else values[t : t + 1].to(device)
            for values in (steady.masks, steady.codes, steady.maps)
        )
        points = steady.way.landmarks[t]
        found = Found(index, count, points, quad_from_landmarks(points))
        return Guided(found, None if mask is None else mask.float() / LEVELS, steady.apart, codes, maps)

    def _looked_at(self) -> list[Steady]:
        """All looks at all frames."""
        self._tell(f"--sequence: looking at all {len(self.items)} frames first")
        frames = self._frames.each(self._first_look, range(len(self.items)))
        cuts = find_cuts([frame.picture for frame in frames], self.options) | self._other_sizes(frames)
        if cuts:
            names = ", ".join(self.items[i].key.name for i in sorted(cuts))
            self._tell(f"--sequence: the picture changes at {names}; faces are followed anew from there")
        tracks = self._chosen(follow([frame.faces for frame in frames], cuts, self.options))
        ways = [Way(track, smoothed_landmarks(track, self.options)) for track in tracks]
        if self.follow is None:
            return steady_maps(self._frames, ways, self.options)
        return CodesAlong(self._frames, self._codes, self.follow, self._tell).steady(ways, self.options)

    def _other_sizes(self, frames: Sequence[_Seen]) -> set[int]:
        """Frames that are not as large as the one before, which is told."""
        known = [(i, frame.size) for i, frame in enumerate(frames) if frame.picture is not None]
        others = {j: (before, now) for (_, before), (j, now) in pairwise(known) if before != now}
        if others:
            first = min(others)
            before, now = ("{1}x{0}".format(*size) for size in others[first])
            console.warn(f"--sequence: frames differ in size; {self.items[first].key.name} is {now} after {before}")
        return set(others)

    def _first_look(self, index: int) -> _Seen:
        source, equipment = self._frames.source(index), self.studio.equipment
        if source is None:
            return _Seen()
        image, options = self.studio.tensor(source), equipment.align_options
        landmarks = [points for points in equipment.detector(image, options) if side_px(points) >= options.min_size_px]
        looks = [align(image, quad_from_landmarks(points), LOOK_PX, options).flatten().cpu() for points in landmarks]
        seen = tuple(Seen(points, look) for points, look in zip(landmarks, looks, strict=True))
        height, width = image.shape[2:]
        scale = THUMB_PX / max(height, width)
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        return _Seen(seen, F.adaptive_avg_pool2d(image, size)[0].cpu(), (height, width))

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


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which 2 comes before 10; folders first as they are named."""
    parts = re.findall(r"\d+|\D+", str(Path(name)))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
