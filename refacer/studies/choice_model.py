"""The choice model: P(i is chosen among S) = exp(t_i) / sum over S of exp(t_j); of pairs it is Bradley & Terry's (1952)
model, of more Luce's (1959)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEPS = 50
ENOUGH = 1e-9


def fit(shown: Sequence[Sequence[int]], wins: NDArray[np.float64], methods: int, ridge: float) -> NDArray[np.float64]:
    """Strengths (methods,) whose sum is 0.

    shown: the methods of each set, by number; wins: (sets, methods), how often each was chosen in each set, perhaps
    weighted; ridge: weight of half the sum of squared strengths, which keeps them finite where one method always wins.
    """
    inside = np.zeros((len(shown), methods), bool)
    for row, members in enumerate(shown):
        inside[row, list(members)] = True
    total, strengths = wins.sum(1), np.zeros(methods)
    for _ in range(STEPS):
        shares = np.where(inside, np.exp(strengths), 0.0)
        shares /= shares.sum(1, keepdims=True)
        gradient = (wins - total[:, None] * shares).sum(0) - ridge * strengths
        curvature = np.diag((total[:, None] * shares).sum(0) + ridge) - (shares.T * total) @ shares
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))  # a longer one may leave Newton's basin
        strengths = strengths + step
        if float(np.abs(step).max()) < ENOUGH:
            break
    return strengths - strengths.mean()


def shares_of(strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each method would be chosen where all are shown, (..., methods)."""
    weights = np.exp(strengths - strengths.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
