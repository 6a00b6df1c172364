import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from refacer.options import FollowOptions, SequenceOptions
from refacer.stages.tracks import (
    Seen,
    Track,
    find_cuts,
    follow,
    smoothed,
    smoothed_codes,
    smoothed_landmarks,
    smoothing_weights,
)

OPTIONS = SequenceOptions()
EYES_AND_MOUTH = ((-1.0, -1.0), (1.0, -1.0), (0.0, 0.0), (-0.8, 1.2), (0.8, 1.2))
"""RetinaFace's five points, about a face's centre."""


def face(x: float, y: float = 50.0, size: float = 10.0, look: float = 0.0) -> Seen:
    return Seen(tuple((x + size * a, y + size * b) for a, b in EYES_AND_MOUTH), torch.full((12,), look))


def ways(frames: list[list[Seen]], cuts=(), **changes) -> list[tuple[int, list[int]]]:
    """The first frame of each track, and where its nose is."""
    tracks = follow(frames, cuts, replace(OPTIONS, **changes))
    return [(track.first, [round(points[2][0]) for points in track.landmarks]) for track in tracks]


def test_faces_that_pass_each_other_stay_who_they_are():
    frames = [[face(10.0 * t, look=-0.5), face(100 - 10.0 * t, y=54, look=0.5)] for t in range(11)]
    shuffled = [sorted(faces, key=lambda one: one.centre[0]) for faces in frames]
    there, back = [10 * t for t in range(11)], [100 - 10 * t for t in range(11)]
    assert ways(shuffled) == [(0, there), (0, back)]


def test_a_face_that_leaves_and_one_that_comes():
    frames = [[face(20)] * (t < 5) + [face(200)] * (t >= 3) for t in range(9)]
    assert ways(frames) == [(0, [20] * 5), (3, [200] * 6)]


def test_a_face_that_is_missed_is_thought_to_be_on_its_way():
    frames = [[face(10.0 * t)] if t not in (3, 4) else [] for t in range(8)]
    assert ways(frames) == [(0, [0, 10, 20, 30, 40, 50, 60, 70])]
    assert ways(frames, max_gap=1, min_frames=1) == [(0, [0, 10, 20]), (5, [50, 60, 70])]


def test_what_flashes_up_is_no_face_but_a_short_shot_has_faces():
    frames = [[face(20), *([face(200)] if t == 4 else [])] for t in range(9)]
    assert ways(frames) == [(0, [20] * 9)]
    assert ways([[face(20)], [face(20)]]) == [(0, [20, 20])]


def test_no_face_goes_on_over_a_cut():
    assert ways([[face(20)]] * 8, cuts={4}) == [(0, [20] * 4), (4, [20] * 4)]


def test_a_cut_is_noticed_and_motion_is_none():
    torch.manual_seed(0)
    first, second = torch.rand(3, 18, 24) * 2 - 1, torch.rand(3, 18, 24) * 2 - 1
    moving = [0.9 * first + 0.1 * first.roll(t, 2) for t in range(5)]
    shots = [*moving, second, None, second]
    assert find_cuts(shots, OPTIONS) == {5}
    assert find_cuts([first, torch.zeros(3, 24, 18)], OPTIONS) == {1}
    assert find_cuts([], OPTIONS) == set()


@pytest.mark.parametrize("order", [1, 2])
def test_what_moves_evenly_does_not_lag(order: int):
    t = torch.arange(30.0, dtype=torch.float64)
    path = 3 + 2 * t - (0.1 * t**2 if order == 2 else 0)
    assert torch.allclose(smoothed(path, 6, order), path, atol=1e-9)


def test_noise_between_neighbours_is_less_than_a_fifth():
    torch.manual_seed(1)
    noise = torch.randn(200, 7)
    steady = smoothed(noise, OPTIONS.change_reach, 1)
    assert steady.diff(dim=0).abs().mean() < noise.diff(dim=0).abs().mean() / 5
    assert smoothed(noise[:1], 8, 1).equal(noise[:1])


def test_weights_are_symmetric_and_sum_to_one():
    weights = smoothing_weights(4, 4, 2)
    assert torch.allclose(weights, weights.flip(0))
    assert math.isclose(float(weights.sum()), 1)
    assert math.isclose(float(smoothing_weights(0, 4, 1).sum()), 1)


def test_landmarks_lose_their_jitter_but_never_slip():
    torch.manual_seed(2)
    jitter = torch.randn(40).tolist()
    still = Track(0, [face(50 + 0.3 * shift).landmarks for shift in jitter])
    turn = Track(0, [face(0 if t < 20 else 300).landmarks for t in range(40)])
    calm, fast = (smoothed_landmarks(track, OPTIONS) for track in (still, turn))
    moves = [[b[2][0] - a[2][0] for a, b in pairwise(way)] for way in (still.landmarks, calm)]
    assert sum(map(abs, moves[1])) < sum(map(abs, moves[0])) / 4
    apart = max(abs(a[2][0] - b[2][0]) for a, b in zip(turn.landmarks, fast, strict=True))
    assert apart <= OPTIONS.max_shift * face(0).side_px + 1e-9


def test_codes_lose_their_jitter_and_keep_their_way_and_the_shared_ones_are_the_same():
    options, steps = FollowOptions(code_reach=4, shared_from_px=8), torch.linspace(0, 1, 20)[:, None, None]
    way = torch.cat([(steps * power).square() * torch.ones(20, 1, 5) for power in (1, -2, 3)], 1)
    noise = torch.randn(way.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.allclose(smoothed_codes(way, options)[:, :1], way[:, :1], atol=1e-5)  # a parabola stays
    steady = smoothed_codes(way + noise, options)
    assert (steady[:, :1] - way[:, :1]).abs().mean() < noise[:, :1].abs().mean() / 1.5
    assert (steady[:, 1:] == (way + noise)[:, 1:].mean(0)).all()
