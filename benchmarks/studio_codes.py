"""What the pair's two generators make of the same random codes: looks as the judge sees them, and one identity."""

from __future__ import annotations

from statistics import quantiles
from typing import Any

from torch import Tensor

from benchmarks.studio_measures import Identity, identity_distance
from benchmarks.studio_rows import finite_mean
from refacer.networks.judge import Judge, face_mask, photo_logits
from tools.studio.transfer import Transfer

SAME_PERSON = 0.6  # dlib's usual threshold
BATCH = 20


def compare_codes(
    transfer: Transfer, judge: Judge, identity: Identity, count: int, seed: int = 0, psi: float = 1.0
) -> dict[str, Any]:
    """Judge and compare the pictures of `count` random codes; the faces' masks are the pair's parser's."""
    codes = transfer.random_codes(count, seed, psi)
    called_photo: dict[str, list[bool]] = {"real": [], "rendering": []}
    described: list[list[Any]] = []
    for chunk in codes.split(BATCH):
        drawn = {role: transfer.draw(chunk, role) for role in ("real", "rendering")}
        for role, pictures in drawn.items():
            mask = face_mask(transfer.labels(pictures)).cpu()
            called_photo[role] += (photo_logits(judge, pictures.cpu(), mask) > 0).tolist()
        described += [
            describe_both(identity, *pair) for pair in zip(*(d.cpu().split(1) for d in drawn.values()), strict=True)
        ]
    between = [identity_distance(*pair) for pair in described]
    others = [identity_distance(a[0], b[1]) for a, b in zip(described, described[1:] + described[:1], strict=True)]
    return {
        "codes": count,
        "psi": psi,
        "seed": seed,
        "real_called_photo": share(called_photo["real"]),
        "rendering_called_cg": 1 - share(called_photo["rendering"]),
        "identity_between": finite_mean(between),
        "identity_between_p90": percentile(between, 90),
        "same_person": share([value < SAME_PERSON for value in between if value == value]),
        "identity_of_others": finite_mean(others),
        "faces_found": sum(value == value for value in between),
    }


def describe_both(identity: Identity, real: Tensor, rendering: Tensor) -> list[Any]:
    """Descriptors of both pictures (1, 3, R, R) of a code; where one shows no face, the other's landmarks serve."""
    found = [identity.landmarks(picture) for picture in (real, rendering)]
    return [identity.describe(picture, own, found) for picture, own in zip((real, rendering), found, strict=True)]


def share(flags: list[bool]) -> float:
    """How many of them hold, from 0 to 1; NaN of none."""
    return sum(flags) / len(flags) if flags else float("nan")


def percentile(values: list[float], percent: int) -> float:
    """A percentile of what is a number; NaN of fewer than two."""
    known = [value for value in values if value == value]
    return quantiles(known, n=100, method="inclusive")[percent - 1] if len(known) > 1 else float("nan")
