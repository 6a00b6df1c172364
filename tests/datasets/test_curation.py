"""Which faces are put aside, and why; the order they come in does not matter."""

import random

import numpy as np
import pytest

from refacer.datasets.curation import Measured, Verdict, judge, with_lists
from refacer.options import Limits

LIMITS = Limits(min_side_px=100, max_blur=0.6, min_score=0.2, max_bits=24)


def face(name: str, bits: int = 0, **changed: object) -> Measured:
    """A sound face whose hash has its first `bits` bits set."""
    flags = np.zeros(256, np.uint8)
    flags[:bits] = 1
    code = np.packbits(flags).tobytes().hex()
    far = np.packbits(1 - flags).tobytes().hex()
    values = {"side_px": 200.0, "blur": 0.4, "score": 1.5, "pixels": name, "hash": code, "mirrored_hash": far}
    return Measured(name, **{**values, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({}, ()),
        ({"side_px": 99.0}, ("small",)),
        ({"blur": 0.61}, ("blurred",)),
        ({"score": 0.1}, ("low-score",)),
        ({"side_px": 10.0, "blur": 0.9, "score": -1.0}, ("small", "blurred", "low-score")),
        ({"side_px": 100.0, "blur": 0.6, "score": 0.2}, ()),
    ],
)
def test_each_fault_has_its_reason(changed, reasons):
    assert judge([face("a", **changed)], LIMITS) == {"a": Verdict(reasons)}


def test_of_twins_the_largest_stays_and_is_named():
    verdicts = judge([face("small", 0), face("large", 24, side_px=300.0), face("other", 90)], LIMITS)
    assert verdicts == {"small": Verdict(("near-duplicate",), "large"), "large": Verdict(), "other": Verdict()}


def test_one_bit_more_is_another_face():
    assert all(verdict.kept for verdict in judge([face("a", 0), face("b", 25)], LIMITS).values())


def test_equal_pixels_are_called_a_duplicate():
    verdicts = judge([face("b", pixels="same"), face("a", pixels="same")], LIMITS)
    assert verdicts == {"a": Verdict(), "b": Verdict(("duplicate",), "a")}


def test_a_mirror_image_is_a_twin():
    one = face("a", 128)
    mirrored = face("b", 0, side_px=100.0, hash=one.mirrored_hash, mirrored_hash=one.hash)
    assert judge([one, mirrored], LIMITS)["b"] == Verdict(("near-duplicate",), "a")


def test_a_face_that_is_not_sound_does_not_push_out_one_that_is():
    assert judge([face("large", side_px=900.0, blur=0.9), face("sharp")], LIMITS)["sharp"].kept


def test_likeness_does_not_chain():
    """a ~ b ~ c, but a and c differ: c stays."""
    verdicts = judge([face("a", 0, side_px=300.0), face("b", 20), face("c", 40)], LIMITS)
    assert [name for name, verdict in verdicts.items() if verdict.kept] == ["a", "c"]


def test_the_order_does_not_matter():
    rng = np.random.default_rng(0)
    faces = [
        face(f"{i}", int(rng.integers(0, 256)), side_px=float(rng.choice([100, 200])), pixels=f"{rng.integers(20)}")
        for i in range(60)
    ]
    expected = judge(faces, LIMITS)
    assert 5 < sum(verdict.kept for verdict in expected.values()) < 55
    for seed in range(5):
        assert judge(random.Random(seed).sample(faces, len(faces)), LIMITS) == expected


def test_lists_of_a_person_have_the_last_word():
    verdicts = {"good": Verdict(), "fine": Verdict(), "blurred": Verdict(("blurred",)), "bad": Verdict(("small",))}
    kept = with_lists(verdicts, frozenset({"good", "blurred"}), None)
    assert {name: verdict.reasons for name, verdict in kept.items()} == {
        "good": (), "fine": ("not-listed",), "blurred": (), "bad": ("small",)
    }  # fmt: skip
    dropped = with_lists(verdicts, None, frozenset({"good", "bad"}))
    assert [dropped[name].reasons for name in verdicts] == [("dropped",), (), ("blurred",), ("dropped", "small")]


def test_nothing_to_judge():
    assert judge([], LIMITS) == {}
