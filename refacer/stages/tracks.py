"""Faces followed from frame to frame, and values smoothed along their way.

All frames are known, so that every filter looks as far ahead as back and nothing lags: local polynomials by weighted
least squares (loess: Cleveland 1979), one-sided at a track's ends.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

from refacer.options import FollowOptions, SequenceOptions
from refacer.stages.align import side_px
from refacer.types import Points


@dataclass(frozen=True, eq=False)
class Seen:
    """A face in a frame: its landmarks in pixels, and a few colours by which it is known again, (N,) in [-1, 1]."""

    landmarks: Points
    look: Tensor

    @property
    def centre(self) -> tuple[float, float]:
        """Mean of the landmarks."""
        return tuple(sum(values) / len(values) for values in zip(*self.landmarks, strict=True))  # pyright: ignore

    @property
    def side_px(self) -> float:
        """Side of the face's quad."""
        return side_px(self.landmarks)


@dataclass
class Track:
    """One face in neighbouring frames, from `first` on; where it was missed for a moment, between what was seen."""

    first: int
    landmarks: list[Points]

    @property
    def frames(self) -> range:
        """The frames it is in."""
        return range(self.first, self.first + len(self.landmarks))


@dataclass
class _Open:
    """A track that may go on."""

    frames: list[int]
    seen: list[Seen] = field(default_factory=list)

    def expected(self, frame: int) -> tuple[float, float]:
        """Where the face would be if it went on as it did."""
        x, y = self.seen[-1].centre
        if len(self.seen) < 2:
            return x, y
        before, steps = self.seen[-2].centre, self.frames[-1] - self.frames[-2]
        ahead = (frame - self.frames[-1]) / steps
        return x + (x - before[0]) * ahead, y + (y - before[1]) * ahead

    def unlikeness(self, frame: int, face: Seen, options: SequenceOptions) -> float:
        """How little a face looks like the next one of this track; infinite where it cannot be."""
        last, side = self.seen[-1], max(self.seen[-1].side_px, 1e-6)
        away = math.dist(self.expected(frame), face.centre) / side
        grown = abs(math.log(max(face.side_px, 1e-6) / side))
        if away > options.max_step * (frame - self.frames[-1]) or grown > options.max_growth:
            return math.inf
        return away + grown + options.look_weight * float((face.look - last.look).square().mean().sqrt())


def follow(frames: Sequence[Sequence[Seen]], cuts: Collection[int], options: SequenceOptions) -> list[Track]:
    """The faces of all frames as tracks, by first frame, then from left to right.

    cuts: frames before which the picture changes; no track goes on over one. A face that is not found for up to
    `max_gap` frames is thought to be where it moved; what appears for fewer than `min_frames` is no face, unless its
    shot is no longer.
    """
    done: list[_Open] = []
    active: list[_Open] = []
    for i, faces in enumerate(frames):
        kept = [] if i in cuts else [track for track in active if i - track.frames[-1] <= options.max_gap + 1]
        done += [track for track in active if track not in kept]
        taken = _matched(kept, i, faces, options)
        fresh = [_Open([i], [face]) for j, face in enumerate(faces) if j not in taken]
        active = kept + fresh
    shots = _shot_lengths(len(frames), cuts)
    found = [one for one in done + active if len(one.seen) >= min(options.min_frames, shots[one.frames[0]])]
    return [_filled(one) for one in sorted(found, key=lambda one: (one.frames[0], one.seen[0].centre[0]))]


def find_cuts(thumbnails: Sequence[Tensor | None], options: SequenceOptions) -> set[int]:
    """Frames that begin a new shot. thumbnails: (3, h, w) in [-1, 1] each; None for a frame that is missing.

    A cut changes the picture by much, and by more than its neighbours change. Frames of another shape begin one too.
    """
    known = [(i, picture) for i, picture in enumerate(thumbnails) if picture is not None]
    changes = {
        j: math.inf if a.shape != b.shape else float((a - b).abs().mean()) / 2 for (_, a), (j, b) in pairwise(known)
    }
    usual = sorted(changes.values())[len(changes) // 2] if changes else 0.0
    limit = max(options.cut_change, options.cut_ratio * (0.0 if math.isinf(usual) else usual))
    return {i for i, change in changes.items() if change > limit}


def smoothed_landmarks(track: Track, options: SequenceOptions) -> list[Points]:
    """The track's landmarks without jitter: never farther from what was seen than `max_shift` of the face's side."""
    raw = torch.tensor(track.landmarks, dtype=torch.float64)  # [TN2]
    smooth = smoothed(raw, options.landmark_reach, 2)
    sides = torch.tensor([side_px(points) for points in track.landmarks], dtype=torch.float64)
    limit = (options.max_shift * sides)[:, None, None]
    result = raw + (smooth - raw).clamp(-limit, limit)
    return [tuple((float(x), float(y)) for x, y in points) for points in result.tolist()]


def smoothed_codes(codes: Tensor, options: FollowOptions) -> Tensor:
    """Codes (T, num_ws, w_dim) along a track without jitter, from `shared_from_px` on the same ones in every frame."""
    steady = smoothed(codes, options.code_reach, 2)
    first = max(2 * int(math.log2(options.shared_from_px)) - 5, 0)
    steady[:, first:] = codes[:, first:].mean(0)
    return steady


def smoothed(values: Tensor, reach: int, order: int) -> Tensor:
    """Values (T, ...) smoothed along T: at each place a polynomial of `order` through `reach` values on either side."""
    count, result = len(values), torch.empty_like(values)
    for t in range(count):
        before, after = min(reach, t), min(reach, count - 1 - t)
        weights = smoothing_weights(before, after, order).to(values)
        result[t] = torch.tensordot(weights, values[t - before : t + after + 1], 1)
    return result


@cache
def smoothing_weights(before: int, after: int, order: int) -> Tensor:
    """How much each value from `before` places earlier to `after` later counts: (before + 1 + after,) float64, sum 1.

    In the fit, nearer values count more (tricube).
    """
    offsets = torch.arange(-before, after + 1, dtype=torch.float64)
    counts = (1 - (offsets.abs() / (max(before, after) + 1)) ** 3) ** 1.5  # the root of the tricube weight
    powers = offsets[:, None] ** torch.arange(min(order, before + after) + 1)
    return torch.linalg.pinv(counts[:, None] * powers)[0] * counts


def _matched(tracks: Sequence[_Open], frame: int, faces: Sequence[Seen], options: SequenceOptions) -> set[int]:
    """Let tracks go on with the faces that are most like them, and say which faces these are."""
    pairs = sorted(
        (track.unlikeness(frame, face, options), i, j) for i, track in enumerate(tracks) for j, face in enumerate(faces)
    )
    used: set[int] = set()
    taken: set[int] = set()
    for unlikeness, i, j in pairs:
        if i in used or j in taken or math.isinf(unlikeness):
            continue
        used.add(i)
        taken.add(j)
        tracks[i].frames.append(frame)
        tracks[i].seen.append(faces[j])
    return taken


def _shot_lengths(count: int, cuts: Collection[int]) -> list[int]:
    """For each frame, how many its shot has."""
    edges = [0, *sorted(cuts), count]
    return [end - start for start, end in pairwise(edges) for _ in range(end - start)]


def _filled(one: _Open) -> Track:
    """A finished track, straight lines over its gaps."""
    landmarks: list[Points] = []
    for (start, a), (end, b) in pairwise(zip(one.frames, one.seen, strict=True)):
        for step in range(end - start):
            share = step / (end - start)
            both = zip(a.landmarks, b.landmarks, strict=True)
            landmarks.append(tuple((p + (r - p) * share, q + (s - q) * share) for (p, q), (r, s) in both))
    return Track(one.frames[0], [*landmarks, one.seen[-1].landmarks])
