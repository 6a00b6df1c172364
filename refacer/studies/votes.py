"""Reading votes: each line is checked against the plan that its person's number and the design draw.

What cannot be counted is told, line by line, and the rest counts. Votes of two studies are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refacer.errors import InputRefused, Mismatch, UsageError
from refacer.files import read_bytes
from refacer.files.json_text import parse_json
from refacer.files.sources import list_folder
from refacer.studies.design import PERSON, Design, Trial

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Answer:
    """One vote that counts. position: of the chosen picture, from 0."""

    trial: Trial
    choice: str
    position: int
    ms: int


@dataclass
class Person:
    """What one person answered, by the number of the question."""

    id: str
    plan: Sequence[Trial]
    answers: dict[int, Answer] = field(default_factory=dict)
    doubled: int = 0

    def of(self, kind: str) -> list[Answer]:
        """The answers to questions of a kind, in order."""
        return [answer for _, answer in sorted(self.answers.items()) if answer.trial.kind == kind]


@dataclass(frozen=True)
class Votes:
    """All people of a study in the order in which they came; problems: a line for each that does not count."""

    design: Design
    people: tuple[Person, ...]
    problems: tuple[str, ...]


def read_votes(paths: Sequence[Path], known: Design | None = None) -> Votes:
    """Read files and folders of votes. known: the study that they must be of; without it the first line says.

    Raises UsageError where there is no vote, Mismatch for votes of another study, InputRefused where no line says what
    was asked.
    """
    reading = _Reading(known)
    for path in _files(paths):
        reading.read(path)
    return reading.finish(paths)


@dataclass(frozen=True)
class _Line:
    """A line of votes and where it stands."""

    place: str
    body: dict[str, Any]


class _Reading:
    """Votes on their way in. The design may come after votes that need it."""

    def __init__(self, known: Design | None) -> None:
        self.design, self.study = known, known.id if known else None
        self.lines: list[_Line] = []
        self.problems: list[str] = []
        self.people: dict[str, Person] = {}

    def read(self, path: Path) -> None:
        """Take the lines of a file."""
        for number, line in enumerate(read_bytes(path).split(b"\n"), 1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                body = parse_json(line)
                study, _, kind = str(body["study"]), body["person"], str(body["kind"])
            except (ValueError, KeyError, TypeError):
                self.problems.append(f"{place}: cut off or damaged, left out")
                continue
            self.study = self.study or study
            if study != self.study:
                raise Mismatch(f"{place}: a vote of study {study}, not of {self.study}; analyse each study by itself")
            if kind == "begin":
                self._begin(place, body)
            else:
                self.lines.append(_Line(place, body))

    def finish(self, paths: Sequence[Path]) -> Votes:
        """Check every answer against its plan."""
        if self.study is None:
            raise UsageError(
                f"{', '.join(map(str, paths))}: holds no vote ({SUFFIX} files, as the study's page saves them)"
            )
        if self.design is None:
            raise InputRefused(f"study {self.study}: no line says what was asked; name its folder with --study")
        for line in self.lines:
            if problem := self._take(line.body):
                self.problems.append(f"{line.place}: {problem}, left out")
        doubled = [
            f"{person.id}: {person.doubled} more answers to questions answered before, left out"
            for person in self.people.values()
            if person.doubled
        ]
        return Votes(self.design, tuple(self.people.values()), (*self.problems, *doubled))

    def _begin(self, place: str, body: dict[str, Any]) -> None:
        """The line that a person's votes begin with; it holds the design, whose hash is the study's name."""
        if self.design is not None:
            return
        try:
            design = Design.from_body(body["design"])
        except (InputRefused, KeyError):
            design = None
        if design is None or design.id != self.study:
            self.problems.append(f"{place}: does not hold the design of study {self.study}, left out")
        else:
            self.design = design

    def _take(self, body: dict[str, Any]) -> str | None:
        """Count a vote; in words why not."""
        assert self.design is not None
        name, number, choice, ms = (body.get(key) for key in ("person", "trial", "choice", "ms"))
        if not isinstance(name, str) or not PERSON.fullmatch(name):
            return "no person's number"
        if not isinstance(number, int) or not isinstance(ms, int) or ms < 0:
            return "no question's number, or no time"
        person = self.people.get(name) or Person(name, self.design.plan(name))
        trial = person.plan[number] if 0 <= number < len(person.plan) else None
        given = body.get("kind"), body.get("case"), body.get("shown")
        if trial is None or given != (trial.kind, trial.case, list(trial.shown)) or choice not in trial.shown:
            return "not what this person was asked"
        self.people[name] = person
        answer = Answer(trial, choice, trial.shown.index(choice), ms)
        before = person.answers.setdefault(number, answer)
        person.doubled += before != answer  # the same one again was only sent twice
        return None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files named, and those below the folders named."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        listing = list_folder(path, (SUFFIX,))
        for _, error in listing.refused:
            raise error
        yield from (entry.path for entry in listing.entries)
