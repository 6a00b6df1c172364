"""What the votes of a study say, computed from the votes alone; who is left out is named, with the reason.

The votes of one person, and on one face, are alike. Tests that take each vote for independent (`p`) are therefore given
beside tests that count people (`p_people`) and intervals that draw people and faces anew (`bootstrap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refacer.options import AnalysisOptions
from refacer.studies.choice_model import fit, shares_of
from refacer.studies.design import SHARP, Design
from refacer.studies.statistics import (
    binomial_p,
    bootstrap_weights,
    holm,
    percentile_interval,
    sign_test,
    wilson,
)
from refacer.studies.votes import Person, Votes

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class PersonResult:
    """One person. chosen: how often the focal method was, of `asked` questions in which it stood; p: exact, against
    chance; agreed: mirrored repeats answered as before; excluded: why the votes do not count, empty where they do."""

    answered: int
    questions: int
    chosen: int
    asked: int
    p: float
    obvious_wrong: int
    agreed: int
    repeats: int
    median_ms: int
    excluded: str = ""


@dataclass(frozen=True)
class Share:
    """How often the focal method was chosen, `of` so many. p: of the votes; above, below: people over and under chance;
    p_people: of these."""

    chosen: int
    of: int
    chance: float
    wilson: tuple[float, float]
    bootstrap: Interval
    p: float
    above: int
    below: int
    p_people: float

    @property
    def share(self) -> float | None:
        """The share itself; None without votes."""
        return self.chosen / self.of if self.of else None


@dataclass(frozen=True)
class Rival:
    """The focal method against one other, where one of the two was chosen; p_holm: for all rivals together."""

    name: str
    share: Share
    p_holm: float
    p_people_holm: float


@dataclass(frozen=True)
class Strength:
    """A method in the choice model: strength, its interval, and how often it would be chosen among all."""

    name: str
    strength: float
    interval: Interval
    share: float


@dataclass(frozen=True)
class Analysis:
    """All figures of a study. everyone: the pooled share with those left out; first: how often the first position was
    chosen, of all main votes."""

    design: Design
    people: Mapping[str, PersonResult]
    pooled: Share
    everyone: Share
    rivals: tuple[Rival, ...]
    strengths: tuple[Strength, ...]
    first: tuple[int, int]
    problems: tuple[str, ...]

    @property
    def counted(self) -> dict[str, PersonResult]:
        """The people whose votes count."""
        return {name: person for name, person in self.people.items() if not person.excluded}


def analyse(votes: Votes, options: AnalysisOptions) -> Analysis:
    """Count the votes of a study."""
    design = votes.design
    results = {person.id: _person(person, design) for person in votes.people}
    counted = [person for person in votes.people if not results[person.id].excluded]
    table, whole = _Table(design, counted, options), _Table(design, votes.people, options)
    rivals = [table.against(name) for name in design.methods if name != design.focal]
    adjusted = holm([share.p for share in rivals]), holm([share.p_people for share in rivals])
    names = [name for name in design.methods if name != design.focal]
    positions = [answer.position for person in counted for answer in person.of("main")]
    return Analysis(
        design=design,
        people=results,
        pooled=table.pooled(),
        everyone=whole.pooled(),
        rivals=tuple(Rival(*one) for one in zip(names, rivals, *adjusted, strict=True)),
        strengths=table.strengths(),
        first=(positions.count(0), len(positions)),
        problems=votes.problems,
    )


def _person(person: Person, design: Design) -> PersonResult:
    main, obvious = person.of("main"), person.of("obvious")
    chosen = sum(answer.choice == design.focal for answer in main)
    before = {frozenset([answer.trial.case, *answer.trial.shown]): answer.choice for answer in main}
    again = person.of("repeat")
    repeats = [(frozenset([answer.trial.case, *answer.trial.shown]), answer.choice) for answer in again]
    result = PersonResult(
        answered=len(person.answers),
        questions=len(person.plan),
        chosen=chosen,
        asked=len(main),
        p=binomial_p(chosen, len(main), 1 / design.choices),
        obvious_wrong=sum(answer.choice != SHARP for answer in obvious),
        agreed=sum(before.get(key) == choice for key, choice in repeats),
        repeats=sum(key in before for key, _ in repeats),
        median_ms=round(median(answer.ms for answer in person.answers.values())),
    )
    return PersonResult(**{**vars(result), "excluded": _reason(result, len(obvious), design)})


def _reason(person: PersonResult, obvious: int, design: Design) -> str:
    """Why a person's votes do not count, by the rule that the study was made with; empty where they do."""
    rule = design.rule
    if person.answered * 100 < rule.least_answered_percent * person.questions:
        least = f"at least {rule.least_answered_percent} % are needed"
        return f"{person.answered} of {person.questions} questions answered, {least}"
    if person.obvious_wrong > rule.obvious_wrong:
        most = f"at most {rule.obvious_wrong} may be"
        return f"{person.obvious_wrong} of {obvious} obvious questions answered wrongly, {most}"
    if person.median_ms < rule.least_median_ms:
        return f"a median of {person.median_ms} ms, at least {rule.least_median_ms} ms are needed"
    return ""


class _Table:
    """The main votes of some people as arrays. Every vote is a row: person, case, set of methods, chosen method."""

    def __init__(self, design: Design, people: Sequence[Person], options: AnalysisOptions) -> None:
        self.design, self.options = design, options
        self.methods = list(design.methods)
        sets = {frozenset(methods): number for number, methods in enumerate(design.sets)}
        rows = [
            (
                number,
                design.cases.index(answer.trial.case),
                sets[frozenset(answer.trial.shown)],
                self.methods.index(answer.choice),
            )
            for number, person in enumerate(people)
            for answer in person.of("main")
        ]
        self.rows = np.array(rows, np.int64).reshape(-1, 4)
        self.focal = self.methods.index(design.focal)
        self.count = len(people)

    def pooled(self) -> Share:
        """The focal method among all that was shown with it."""
        return self._share(np.ones(len(self.rows), bool), 1 / self.design.choices)

    def against(self, name: str) -> Share:
        """The focal method against one other: only votes for one of the two, where both stood."""
        other = self.methods.index(name)
        together = [{self.design.focal, name} <= set(methods) for methods in self.design.sets]
        shown = np.array(together)[self.rows[:, 2]]
        return self._share(shown & np.isin(self.rows[:, 3], (self.focal, other)), 0.5)

    def _share(self, counted: NDArray[np.bool_], chance: float) -> Share:
        people, cases, _, choice = self.rows[counted].T
        hit = choice == self.focal
        shape = self.count, len(self.design.cases)
        votes, hits = np.zeros(shape), np.zeros(shape)
        np.add.at(votes, (people, cases), 1)
        np.add.at(hits, (people, cases), hit)
        expected = votes.sum(1) * chance
        above, below = (int(np.sum(test)) for test in (hits.sum(1) > expected, hits.sum(1) < expected))
        chosen, of = int(hit.sum()), len(hit)
        return Share(
            chosen, of, chance, wilson(chosen, of, self.options.alpha), self._bootstrap(hits, votes),
            binomial_p(chosen, of, chance), above, below, sign_test(above, below),
        )  # fmt: skip

    def _bootstrap(self, hits: NDArray[np.float64], votes: NDArray[np.float64]) -> Interval:
        """Interval of the share over people and cases."""
        if not self.options.bootstrap or not votes.any():
            return None
        people, cases = self._weights
        with np.errstate(invalid="ignore", divide="ignore"):  # a replicate may draw nobody who voted here
            shares = ((people @ hits) * cases).sum(1) / ((people @ votes) * cases).sum(1)
        return percentile_interval(shares, self.options.alpha)

    @cached_property
    def _weights(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return bootstrap_weights(self.count, len(self.design.cases), self.options.bootstrap, self.options.seed)

    def strengths(self) -> tuple[Strength, ...]:
        """The choice model, strongest first; empty without votes."""
        if not len(self.rows):
            return ()
        found = self._fitted(np.ones(len(self.rows)))
        drawn = np.empty((0, len(self.methods)))
        if self.options.bootstrap:
            weights = zip(*self._weights, strict=True)
            drawn = np.stack([self._fitted(p[self.rows[:, 0]] * c[self.rows[:, 1]]) for p, c in weights])
        intervals = [percentile_interval(values, self.options.alpha) for values in drawn.T]
        shares = shares_of(found).tolist()
        rows = [Strength(*one) for one in zip(self.methods, found.tolist(), intervals, shares, strict=True)]
        return tuple(sorted(rows, key=lambda row: -row.strength))

    def _fitted(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        wins = np.zeros((len(self.design.sets), len(self.methods)))
        np.add.at(wins, (self.rows[:, 2], self.rows[:, 3]), weights)
        shown = [[self.methods.index(name) for name in methods] for methods in self.design.sets]
        return fit(shown, wins, len(self.methods), self.options.ridge)
