"""Which aligned faces a training set keeps: limits on each, and of those that look alike the best one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refacer.options import Limits

SMALL, BLURRED, LOW_SCORE = "small", "blurred", "low-score"
DUPLICATE, NEAR_DUPLICATE = "duplicate", "near-duplicate"
DROPPED, NOT_LISTED = "dropped", "not-listed"
"""Why a face is put aside; the last two are a person's reasons."""


@dataclass(frozen=True)
class Measured:
    """What is known about one aligned face.

    name: of its file, unique; pixels: sha256 of the crop's pixels; side_px: of its quad in the source; blur: 0 (sharp)
    to 1; score: of dlib's detector; hash, mirrored_hash: hexadecimal perceptual hashes of it and of its mirror image.
    """

    name: str
    pixels: str
    side_px: float
    blur: float
    score: float
    hash: str
    mirrored_hash: str


@dataclass(frozen=True)
class Verdict:
    """Why a face is put aside, no reason if it is kept; twin: the kept face that it looks like."""

    reasons: tuple[str, ...] = ()
    twin: str | None = None

    @property
    def kept(self) -> bool:
        """Whether the face belongs to the set."""
        return not self.reasons


def judge(faces: Iterable[Measured], limits: Limits) -> dict[str, Verdict]:
    """A verdict for each face by name; it does not depend on the order they come in.

    Faces are taken from the best to the worst, and one is put aside that looks like an earlier one or like its mirror
    image (training sees both).
    """
    # the largest first, then the sharpest, then by anything that does not depend on the order
    ranked = sorted(faces, key=lambda face: (-face.side_px, face.blur, face.pixels, face.name))
    verdicts = {face.name: Verdict(_faults(face, limits)) for face in ranked}
    sound = [face for face in ranked if verdicts[face.name].kept]
    return verdicts | _twins(sound, limits.max_bits)


def with_lists(
    verdicts: dict[str, Verdict], keep: frozenset[str] | None, drop: frozenset[str] | None
) -> dict[str, Verdict]:
    """The verdicts after a person's: `keep` names all that stay, whatever was measured; `drop` names some that go."""
    return {name: _by_hand(name, verdict, keep, drop or frozenset()) for name, verdict in verdicts.items()}


def _by_hand(name: str, verdict: Verdict, keep: frozenset[str] | None, drop: frozenset[str]) -> Verdict:
    if name in drop:
        return Verdict((DROPPED, *verdict.reasons), verdict.twin)
    if keep is None:
        return verdict
    if name in keep:
        return Verdict()
    return verdict if verdict.reasons else Verdict((NOT_LISTED,))


def _faults(face: Measured, limits: Limits) -> tuple[str, ...]:
    """What is wrong with a face by itself."""
    faults = {
        SMALL: face.side_px < limits.min_side_px,
        BLURRED: face.blur > limits.max_blur,
        LOW_SCORE: face.score < limits.min_score,
    }
    return tuple(reason for reason, holds in faults.items() if holds)


def _twins(ranked: Sequence[Measured], max_bits: int) -> dict[str, Verdict]:
    """The verdicts on faces that look like one before them."""
    kept: list[Measured] = []
    hashes = np.empty((len(ranked), len(ranked[0].hash) // 16 if ranked else 0), np.uint64)  # 16 digits are 64 bits
    verdicts: dict[str, Verdict] = {}
    for face in ranked:
        bits = _differing_bits(hashes[: len(kept)], face)
        nearest = int(bits.argmin()) if kept else -1
        if kept and bits[nearest] <= max_bits:
            twin = kept[nearest]
            reason = DUPLICATE if twin.pixels == face.pixels else NEAR_DUPLICATE
            verdicts[face.name] = Verdict((reason,), twin.name)
            continue
        hashes[len(kept)] = _unpacked(face.hash)
        kept.append(face)
    return verdicts


def _differing_bits(hashes: NDArray[np.uint64], face: Measured) -> NDArray[np.int64]:
    """Bits (K,) in which a face, or its mirror image, differs from each of (K, W) hashes."""
    both = (_unpacked(face.hash), _unpacked(face.mirrored_hash))
    counts = [np.bitwise_count(hashes ^ one).sum(1, dtype=np.int64) for one in both]
    return np.minimum(*counts)


def _unpacked(hash: str) -> NDArray[np.uint64]:
    """A hexadecimal hash as words of 64 bits."""
    return np.frombuffer(bytes.fromhex(hash), np.uint64)
