"""What people are shown: balanced, drawn from their number, the same for the same number."""

import json
from collections import Counter

import numpy as np
import pytest

from refacer.errors import InputRefused
from refacer.studies.design import BLURRED, SHARP, Design, Draws
from tests.studies.voters import design, number_of


def people(count: int) -> list[str]:
    source = np.random.default_rng(0)
    return [number_of(source) for _ in range(count)]


def test_draws_are_xorshift128():
    """The first numbers of Marsaglia's own example, whose state is 123456789 362436069 521288629 88675123."""
    draws = Draws.__new__(Draws)
    draws._state = [123456789, 362436069, 521288629, 88675123]
    assert [draws._next() for _ in range(4)] == [3701687786, 458299110, 2500872618, 3633119408]


def test_draws_are_even():
    draws = Draws("0123456789abcdef" * 2)
    counts = Counter(draws.below(6) for _ in range(6000))
    assert sorted(counts) == list(range(6))
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 20.5  # chi squared of 5, .999
    orders = Counter(tuple(draws.shuffled("abc")) for _ in range(6000))
    assert len(orders) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in orders.values()) < 20.5


@pytest.mark.parametrize(
    ("methods", "cases", "form"), [(2, 10, "pairs"), (7, 10, "pairs"), (7, 14, "all"), (3, 1, "all")]
)
def test_every_method_of_every_face_is_asked_once_and_sides_are_balanced(methods, cases, form):
    asked = design(methods, cases, form)
    for person in people(5):
        plan = asked.plan(person)
        main = [trial for trial in plan if trial.kind == "main"]
        for shown in asked.sets:
            own = [trial for trial in main if set(trial.shown) == set(shown)]
            assert sorted(trial.case for trial in own) == sorted(asked.cases)
            for position in range(len(shown)):
                counts = Counter(trial.shown[position] for trial in own)
                least, most = cases // len(shown), -(-cases // len(shown))
                assert all(least <= counts[name] <= most for name in shown)
        assert len(main) == cases * len(asked.sets)


def test_over_people_nothing_stands_first_or_comes_early_more_often():
    asked = design(2, 5)
    plans = [asked.plan(person) for person in people(400)]
    mains = [[trial for trial in plan if trial.kind == "main"] for plan in plans]
    first = sum(trial.shown[0] == "m1" for main in mains for trial in main)
    assert abs(first - 1000) < 4 * (400 * 0.25) ** 0.5  # the odd side of each person is a coin
    firsts = Counter(main[0].case for main in mains)
    assert sum((firsts[case] - 80) ** 2 / 80 for case in asked.cases) < 18.5  # chi squared of 4, .999


@pytest.mark.parametrize(("methods", "form"), [(2, "pairs"), (4, "all")])
def test_two_questions_are_obvious_and_two_come_again_mirrored(methods, form):
    asked = design(methods, 8, form)
    for person in people(20):
        plan = asked.plan(person)
        places = [i for i, trial in enumerate(plan) if trial.kind == "obvious"]
        assert places[0] <= len(plan) // 2 - 1 <= places[1]
        obvious = [plan[i] for i in places]
        assert all(sorted(trial.shown) == [BLURRED] * (asked.choices - 1) + [SHARP] for trial in obvious)
        assert obvious[0].shown != obvious[1].shown
        assert [trial.kind for trial in plan[-2:]] == ["repeat"] * 2
        main = {(trial.case, trial.shown) for trial in plan if trial.kind == "main"}
        again = {(trial.case, trial.shown[::-1]) for trial in plan[-2:]}
        assert len(again) == 2
        assert again <= main


def test_a_plan_follows_from_the_design_and_the_person():
    asked, (first, second) = design(3, 10), people(2)
    assert asked.plan(first) == design(3, 10).plan(first)
    assert asked.plan(first) != asked.plan(second)
    other = design(3, 10, seed=1)
    assert other.id != asked.id
    assert other.plan(first) != asked.plan(first)


def test_a_design_survives_json_and_damage_is_refused():
    asked = design(3, 4, "all")
    body = json.loads(asked.to_json())
    again = Design.from_body(body)
    assert (again, again.id) == (asked, asked.id)
    for change in ({"focal": "m9"}, {"form": "triples"}, {"cases": []}, {"methods": ["m1"]}, {"rule": {"x": 1}},
                   {"obvious": ["1"]}, {"format": 2}, {"more": 1}):  # fmt: skip
        with pytest.raises(InputRefused):
            Design.from_body({**body, **change})
    for body in (None, [], {}, "x"):
        with pytest.raises(InputRefused):
            Design.from_body(body)
