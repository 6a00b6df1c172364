"""Votes as they come from people: cut, doubled, forged, of another study. What is good counts, the rest is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refacer.errors import InputRefused, Mismatch, UsageError
from refacer.studies.votes import read_votes
from tests.studies.voters import ballot, ballots, design, write

WEIGHTS = {"m1": 2.0, "m2": 1.0}


@pytest.fixture
def lines() -> list[dict[str, Any]]:
    """All lines of one person: a beginning and 14 answers."""
    return ballot(design(), WEIGHTS, np.random.default_rng(0))


def test_all_of_two_people_in_two_files_and_a_folder(tmp_path):
    everyone = list(ballots(design(), WEIGHTS, 2, 0))
    write(tmp_path / "a.jsonl", everyone[:15])
    write(tmp_path / "deep/b.jsonl", everyone[15:])
    (tmp_path / "notes.txt").write_text("no votes")
    for paths in ([tmp_path], [tmp_path / "a.jsonl", tmp_path / "deep/b.jsonl"]):
        votes = read_votes(paths)
        assert votes.problems == ()
        assert [len(person.answers) for person in votes.people] == [14, 14]
        assert votes.design == design()


@pytest.mark.parametrize("cut", [1, 40])
def test_a_cut_line_is_told_and_the_rest_counts(tmp_path, lines, cut):
    path = write(tmp_path / "v.jsonl", lines)
    whole = path.read_bytes()
    path.write_bytes(whole[: -cut - 1])
    votes = read_votes([path])
    assert len(votes.people[0].answers) == 13
    assert votes.problems == (f"{path}:15: cut off or damaged, left out",)
    path.write_bytes(whole[: -cut - 1] + b"\n" + json.dumps(lines[-1]).encode() + b"\n")
    assert len(read_votes([path]).people[0].answers) == 14


def test_what_was_sent_twice_counts_once_and_is_no_problem(tmp_path, lines):
    votes = read_votes([write(tmp_path / "v.jsonl", [*lines, *lines[3:]])])
    assert (len(votes.people[0].answers), votes.problems) == (14, ())


def test_a_thousand_votes_by_one_person_are_one_ballot(tmp_path, lines):
    def more() -> Iterator[dict[str, Any]]:
        for i in range(1000):
            line = lines[1 + i % 14]
            yield {**line, "choice": line["shown"][i % 2], "ms": 5000 + i}

    votes = read_votes([write(tmp_path / "v.jsonl", [*lines, *more()])])
    (person,) = votes.people
    assert [answer.choice for answer in person.of("main")] == [x["choice"] for x in lines if x["kind"] == "main"]
    assert len(votes.problems) == 1
    assert "1000 more answers" in votes.problems[0]


@pytest.mark.parametrize(
    "change",
    [
        {"trial": 99}, {"trial": -1}, {"trial": "0"}, {"trial": None}, {"ms": -5}, {"ms": "quick"}, {"choice": "m7"},
        {"shown": ["m1", "m1"]}, {"shown": None}, {"case": "11"}, {"kind": "obvious"}, {"person": "me"},
        {"person": "f" * 16}, {"person": 7},
    ],
)  # fmt: skip
def test_an_answer_to_what_was_not_asked_is_told_and_left_out(tmp_path, lines, change):
    number = next(i for i, line in enumerate(lines) if line["kind"] == "main")
    wrong = [*lines[:number], {**lines[number], **change}, *lines[number + 1 :]]
    votes = read_votes([write(tmp_path / "v.jsonl", wrong)])
    assert [len(person.answers) for person in votes.people] == [13]
    assert len(votes.problems) == 1
    assert f"v.jsonl:{number + 1}: " in votes.problems[0]


@pytest.mark.parametrize("line", ["[]", "null", "5", '"x"', "{}", "{" * 2000, '{"study": "a"}', "\x00\xff"])
def test_any_other_line_is_told_and_left_out(tmp_path, lines, line):
    path = write(tmp_path / "v.jsonl", lines)
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    votes = read_votes([path])
    assert (len(votes.people[0].answers), len(votes.problems)) == (14, 1)


def test_votes_of_another_study_are_refused(tmp_path, lines):
    other = list(ballots(design(cases=9), WEIGHTS, 1, 0))
    path = write(tmp_path / "v.jsonl", [*lines, *other])
    with pytest.raises(Mismatch, match=r"v\.jsonl:16: a vote of study"):
        read_votes([path])
    with pytest.raises(Mismatch, match=r"v\.jsonl:1: a vote of study"):
        read_votes([path], design(seed=1))


def test_a_changed_rule_is_another_study(tmp_path, lines):
    """The study's name is the hash of its design: who counts cannot be changed once votes are in."""
    lines[0]["design"] = {**lines[0]["design"], "rule": {**lines[0]["design"]["rule"], "obvious_wrong": 2}}
    with pytest.raises(InputRefused, match="--study"):
        read_votes([write(tmp_path / "v.jsonl", lines)])
    votes = read_votes([tmp_path / "v.jsonl"], design())
    assert (len(votes.people[0].answers), votes.problems) == (14, ())


def test_the_beginning_may_come_last_or_be_someone_elses(tmp_path):
    everyone = list(ballots(design(), WEIGHTS, 2, 0))
    votes = read_votes([write(tmp_path / "v.jsonl", [*everyone[1:15], *everyone[16:], everyone[15]])])
    assert [len(person.answers) for person in votes.people] == [14, 14]


def test_no_votes_at_all(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("\n")
    for place in (tmp_path, tmp_path / "empty.jsonl"):
        with pytest.raises(UsageError, match="holds no vote"):
            read_votes([place])
