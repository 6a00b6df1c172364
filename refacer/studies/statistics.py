"""The tests and intervals of a study, from their published definitions; nothing here knows what was voted on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TIE = 1 + 1e-7
"""Probabilities that differ by rounding alone count as equal; R's binom.test has the same factor."""


def binomial_p(hits: int, trials: int, chance: float) -> float:
    """Exact two-sided p of so many hits: the probability of all counts that are no likelier (Clopper & Pearson's
    test in the form of R's binom.test); 1 without trials."""
    terms = binomial_pmf(trials, chance)
    return min(1.0, float(terms[terms <= terms[hits] * TIE].sum()))


def binomial_pmf(trials: int, chance: float) -> NDArray[np.float64]:
    """Probability of 0 to `trials` hits, (trials + 1,); 0 < chance < 1."""
    counts = range(trials + 1)
    whole = math.lgamma(trials + 1)
    logs = [
        whole
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(chance)
        + (trials - k) * math.log1p(-chance)
        for k in counts
    ]
    return np.exp(np.array(logs))


def least_significant(trials: int, chance: float, alpha: float) -> int | None:
    """The least number of hits above chance whose exact two-sided p is at most alpha; None where there is none."""
    above = range(math.floor(trials * chance) + 1, trials + 1)
    return next((hits for hits in above if binomial_p(hits, trials, chance) <= alpha), None)


def power(trials: int, chance: float, truth: float, alpha: float) -> float:
    """The probability that binomial_p is at most alpha where the true share is `truth`."""
    found = [binomial_p(hits, trials, chance) <= alpha for hits in range(trials + 1)]
    return float(binomial_pmf(trials, truth)[found].sum())


def wilson(hits: int, trials: int, alpha: float) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927); 0 to 1 without trials."""
    if not trials:
        return 0.0, 1.0
    z, share = normal_quantile(1 - alpha / 2), hits / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def normal_quantile(probability: float) -> float:
    """Where the standard normal distribution reaches a probability between 0 and 1."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values that hold for all tests together (Holm 1979): step down, never smaller than the one before."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, least = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted


def sign_test(above: int, below: int) -> float:
    """Two-sided p that as many people lie above chance as below; those at chance count in neither."""
    return binomial_p(above, above + below, 0.5)


def bootstrap_weights(
    people: int, cases: int, replicates: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each person (B, people) and each case (B, cases) is drawn; both with replacement, on their own.

    A vote weighs the product of its two (the pigeonhole bootstrap, Owen 2007): votes of one person, and of one case,
    are not taken for independent.
    """
    source = np.random.default_rng(seed)
    return tuple(source.multinomial(n, np.full(n, 1 / n), replicates) for n in (people, cases))  # pyright: ignore


def percentile_interval(values: NDArray[np.float64], alpha: float) -> tuple[float, float] | None:
    """The middle 1 - alpha of finite values; None without any."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, (alpha / 2, 1 - alpha / 2))
    return float(low), float(high)
