"""Simulated voters with a known preference, who answer as the study's page would write it down."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from refacer.options import StudyForm, StudyRule
from refacer.studies.design import BLURRED, SHARP, Design


def design(
    methods: int = 2, cases: int = 10, form: StudyForm = "pairs", rule: StudyRule | None = None, seed: int = 0
) -> Design:
    """A study of m1, which is focal, and others."""
    names = tuple(f"m{i + 1}" for i in range(methods))
    numbers = tuple(str(i + 1) for i in range(cases))
    return Design(
        form=form, question="Which?", focal="m1", methods=names, cases=numbers, obvious=("1", str(min(2, cases))),
        pictures="0" * 64, size_px=64, input_shown=False, rule=rule or StudyRule(), seed=seed,
    )  # fmt: skip


def number_of(source: np.random.Generator) -> str:
    """A person's number."""
    return f"{source.integers(0, 2**63):016x}"


def ballot(
    design: Design, weights: Mapping[str, float], source: np.random.Generator, **changes: Any
) -> list[dict[str, Any]]:
    """All lines of one person who chooses each method as often as its weight says and never misses the obvious.

    changes: fields of every answer that are to be otherwise.
    """
    person = number_of(source)
    always = {SHARP: 1.0, BLURRED: 0.0, **weights}
    lines: list[dict[str, Any]] = [{"study": design.id, "person": person, "kind": "begin", "design": asdict(design)}]
    for number, trial in enumerate(design.plan(person)):
        reached = list(accumulate(always[name] for name in trial.shown))
        choice = trial.shown[bisect_right(reached, source.random() * reached[-1])]
        answer = {"trial": number, "kind": trial.kind, "case": trial.case, "shown": list(trial.shown), "choice": choice}
        lines.append({"study": design.id, "person": person, **answer, "ms": 1500 + number, **changes})
    return lines


def ballots(design: Design, weights: Mapping[str, float], people: int, seed: int) -> Iterator[dict[str, Any]]:
    """All lines of several such people."""
    source = np.random.default_rng(seed)
    for _ in range(people):
        yield from ballot(design, weights, source)


def write(path: Path, lines: Any) -> Path:
    """Lines of votes as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
