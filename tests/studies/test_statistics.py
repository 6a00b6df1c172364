"""Tests and intervals against values from books, R and the exact sums they stand for."""

from math import comb

import numpy as np
import pytest

from refacer.studies.choice_model import fit, shares_of
from refacer.studies.statistics import (
    binomial_p,
    binomial_pmf,
    bootstrap_weights,
    holm,
    least_significant,
    percentile_interval,
    power,
    sign_test,
    wilson,
)


def test_probabilities_are_those_of_the_binomial():
    expected = [comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in range(13)]
    np.testing.assert_allclose(binomial_pmf(12, 0.3), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("hits", "trials", "chance", "p"),
    [
        (682, 925, 0.75, 0.3825),  # R's own example of binom.test, after Conover
        (9, 10, 0.5, 22 / 1024),
        (8, 10, 0.5, 112 / 1024),
        (5, 10, 0.5, 1.0),
        (0, 0, 0.5, 1.0),
        (5, 10, 1 / 7, sum(comb(10, k) * 6 ** (10 - k) for k in range(5, 11)) / 7**10),
    ],
)
def test_exact_p(hits, trials, chance, p):
    assert binomial_p(hits, trials, chance) == pytest.approx(p, rel=2e-4)


def test_what_a_person_must_reach():
    """As scipy's binomtest has it."""
    assert least_significant(10, 1 / 2, 0.05) == 9
    assert least_significant(10, 1 / 7, 0.05) == 4
    assert least_significant(200, 1 / 2, 0.05) == 115
    assert least_significant(200, 1 / 7, 0.05) == 39
    assert least_significant(5, 1 / 2, 0.05) is None


def test_wilson():
    assert wilson(120, 200, 0.05) == pytest.approx((0.531, 0.665), abs=5e-4)
    assert wilson(81, 263, 0.05) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, Table I
    assert wilson(0, 20, 0.05) == pytest.approx((0, 0.1611), abs=5e-5)  # the same
    assert wilson(0, 0, 0.05) == (0, 1)


def test_power_of_two_hundred_votes_at_sixty_percent():
    assert power(200, 0.5, 0.6, 0.05) == pytest.approx(0.79, abs=0.005)
    assert power(100, 0.5, 0.6, 0.05) == pytest.approx(0.46, abs=0.005)
    assert power(200, 0.5, 0.5, 0.05) < 0.05


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_sign_test():
    assert sign_test(15, 5) == pytest.approx(0.0414, abs=5e-5)
    assert sign_test(14, 6) > 0.05
    assert sign_test(0, 0) == 1


def test_the_bootstrap_of_people_is_as_wide_as_their_spread():
    """Of people who differ and cases that do not, it gives the standard error of the mean of people."""
    shares = np.random.default_rng(0).uniform(0, 1, 40)
    hits = np.repeat(shares[:, None], 30, 1)
    people, cases = bootstrap_weights(40, 30, 4000, seed=0)
    drawn = ((people @ hits) * cases).sum(1) / (people @ np.ones((40, 30)) * cases).sum(1)
    assert drawn.std() == pytest.approx(shares.std() / 40**0.5, rel=0.06)
    low, high = percentile_interval(drawn, 0.05) or (1, 0)
    assert high - low == pytest.approx(2 * 1.96 * shares.std() / 40**0.5, rel=0.08)
    assert percentile_interval(np.array([np.nan]), 0.05) is None


def test_two_methods_have_the_logit_of_their_share():
    strengths = fit([(0, 1)], np.array([[30.0, 10.0]]), 2, 1e-9)
    assert strengths[0] - strengths[1] == pytest.approx(np.log(3))
    assert shares_of(strengths) == pytest.approx([0.75, 0.25])


def test_known_strengths_are_found_again_from_expected_wins():
    truth = np.array([1.0, 0.2, -0.4, -0.8])
    pairs = [(i, j) for i in range(4) for j in range(i)]
    for sets in (pairs, [(0, 1, 2, 3)], [(0, 1), (0, 2), (0, 3)]):
        wins = np.zeros((len(sets), 4))
        for row, members in enumerate(sets):
            weights = np.exp(truth[list(members)])
            wins[row, list(members)] = 500 * weights / weights.sum()
        np.testing.assert_allclose(fit(sets, wins, 4, 1e-9), truth, atol=1e-6)


def test_who_always_wins_has_a_finite_strength():
    strengths = fit([(0, 1)], np.array([[20.0, 0.0]]), 2, 0.01)
    assert np.isfinite(strengths).all()
    assert 3 < strengths[0] < 10
    assert fit([(0, 1, 2)], np.zeros((1, 3)), 3, 0.01).tolist() == [0, 0, 0]
