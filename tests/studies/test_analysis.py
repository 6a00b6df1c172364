"""Simulated voters whose preference is known: it is found as often as theory says, and a coin is not."""

import json

import numpy as np
import pytest

from refacer.options import AnalysisOptions, StudyRule
from refacer.studies.analysis import analyse
from refacer.studies.statistics import power
from refacer.studies.votes import read_votes
from tests.studies.voters import ballot, ballots, design, write

PLAIN = AnalysisOptions(bootstrap=0)


def counted(lines, tmp_path, options=PLAIN):
    return analyse(read_votes([write(tmp_path / "v.jsonl", lines)]), options)


STUDIES, PEOPLE = 100, 20


@pytest.mark.parametrize("truth", [0.6, 0.5])
def test_a_preference_is_found_at_the_power_that_theory_says(tmp_path, truth):
    """20 people, 10 faces: .79 at 60 %; a coin at no more than the level."""
    asked = design()
    weights = {"m1": truth, "m2": 1 - truth}
    found = [counted(ballots(asked, weights, PEOPLE, seed), tmp_path) for seed in range(STUDIES)]
    assert all(one.pooled.of == 200 and not set(one.people) - set(one.counted) for one in found)
    rate = sum(one.pooled.p <= 0.05 for one in found) / STUDIES
    theory = power(200, 0.5, truth, 0.05)
    assert rate == pytest.approx(theory, abs=3 * (theory * (1 - theory) / STUDIES) ** 0.5)
    inside = sum(one.pooled.wilson[0] <= truth <= one.pooled.wilson[1] for one in found) / STUDIES
    assert inside == pytest.approx(0.95, abs=3 * (0.05 * 0.95 / STUDIES) ** 0.5)


def test_people_who_differ_are_not_taken_for_many(tmp_path):
    """Half of the people always choose one method, half the other: that is no preference of people, and the interval
    that draws people anew says so, where one that takes votes for independent does not."""
    asked, lines = design(), []
    for seed in range(20):
        lines += ballots(asked, {"m1": float(seed < 13), "m2": float(seed >= 13)}, 1, seed)
    found = counted(lines, tmp_path, AnalysisOptions(bootstrap=500))
    assert found.pooled.share == 0.65
    assert found.pooled.p < 1e-4
    assert (found.pooled.above, found.pooled.below) == (13, 7)
    assert found.pooled.p_people > 0.2
    assert found.pooled.bootstrap is not None
    low, high = found.pooled.bootstrap
    assert low < 0.5 < high
    assert high - low > 2 * (found.pooled.wilson[1] - found.pooled.wilson[0])


@pytest.mark.parametrize("form", ["pairs", "all"])
def test_strengths_and_rivals_of_several_methods(tmp_path, form):
    asked = design(4, 10, form)
    weights = {"m1": 0.4, "m2": 0.3, "m3": 0.2, "m4": 0.1}
    found = counted(ballots(asked, weights, 60, 0), tmp_path, AnalysisOptions(bootstrap=100))
    assert [one.name for one in found.strengths] == ["m1", "m2", "m3", "m4"]
    assert sum(one.strength for one in found.strengths) == pytest.approx(0, abs=1e-9)
    assert [one.share for one in found.strengths] == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.04)
    for one in found.strengths:
        assert one.interval is not None
        assert one.interval[0] < one.strength < one.interval[1]
    for rival in found.rivals:
        assert rival.share.share == pytest.approx(
            0.4 / (0.4 + weights[rival.name]), abs=1.75 / rival.share.of**0.5
        )  # 3.5 standard errors at most
        assert rival.p_holm >= rival.share.p
        assert rival.share.p <= rival.p_holm <= 3 * rival.share.p
    chance = 0.25 if form == "all" else 0.5
    assert found.pooled.chance == chance
    assert found.pooled.of == 60 * len([t for t in asked.plan("0" * 16) if t.kind == "main"])


def test_each_person_is_tested_alone(tmp_path):
    asked = design()
    lines = [*ballots(asked, {"m1": 1, "m2": 0}, 1, 0), *ballots(asked, {"m1": 0.5, "m2": 0.5}, 1, 1)]
    sure, unsure = counted(lines, tmp_path).people.values()
    assert (sure.chosen, sure.asked, sure.agreed, sure.repeats) == (10, 10, 2, 2)
    assert sure.p == pytest.approx(2 / 1024)
    assert unsure.p > 0.1
    assert (sure.answered, sure.questions, sure.median_ms) == (14, 14, 1506)


def test_who_is_left_out_follows_from_the_rule_and_is_told(tmp_path):
    asked, source = design(rule=StudyRule(obvious_wrong=0, least_median_ms=500)), np.random.default_rng(0)
    honest = ballot(asked, {"m1": 1, "m2": 1}, source)
    hasty = ballot(asked, {"m1": 1, "m2": 0}, source, ms=300)
    brief = ballot(asked, {"m1": 1, "m2": 0}, source)[:7]
    always_left = ballot(asked, {"m1": 1, "m2": 1}, source)
    for line in always_left[1:]:
        line["choice"] = line["shown"][0]
    lines = [*honest, *hasty, *brief, *always_left]
    found = counted(lines, tmp_path)
    reasons = [person.excluded for person in found.people.values()]
    assert reasons[0] == ""
    assert "median of 300 ms" in reasons[1]
    assert "6 of 14 questions" in reasons[2]
    assert "1 of 2 obvious" in reasons[3]
    assert list(found.counted) == [honest[0]["person"]]
    assert found.pooled.of == 10
    assert found.everyone.of == sum(line["kind"] == "main" for line in lines)
    lenient = design(rule=StudyRule(obvious_wrong=1, least_median_ms=0, least_answered_percent=0))
    everyone = [line for seed in range(2) for line in ballots(lenient, {"m1": 1, "m2": 1}, 1, seed)]
    for line in everyone[1:]:
        if line["kind"] != "begin":
            line["choice"] = line["shown"][0]
    assert len(counted(everyone, tmp_path).counted) == 2


def test_nobody_who_counts_is_no_crash(tmp_path):
    asked = design()
    found = counted(ballot(asked, {"m1": 1, "m2": 1}, np.random.default_rng(0), ms=1), tmp_path)
    assert found.counted == {}
    assert found.pooled.share is None
    assert found.strengths == ()
    assert found.pooled.p == 1


def test_all_is_json(tmp_path, cli):
    asked = design(3, 4)
    path = write(tmp_path / "v.jsonl", ballots(asked, {"m1": 2, "m2": 1, "m3": 1}, 4, 0))
    first = cli("study", "analyse", path, "--json", "-q", "--bootstrap", 50)
    again = cli("study", "analyse", path, "--json", "-q", "--bootstrap", 50)
    assert (first.code, first.err, first.out) == (0, "", again.out)
    body = json.loads(first.out)
    assert body["study"] == asked.id
    assert body["design"]["rule"] == {"obvious_wrong": 0, "least_median_ms": 500, "least_answered_percent": 50}
    assert len(body["people"]) == 4
