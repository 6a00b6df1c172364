"""A study's design, and what each person is shown: everything follows from the design and the person's number.

studies/study.html draws the same with the same arithmetic, so that every vote can be checked against its plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

from refacer.errors import InputRefused
from refacer.options import StudyForm, StudyRule

FORMAT = 1
SHARP, BLURRED = "sharp", "blurred"
"""What an obvious trial shows: one picture as it is, else the same picture under a strong blur."""

OBVIOUS_TRIALS = 2
REPEATS = 2
MAX_SHOWN = 9
"""Pictures side by side that the keys 1 to 9 choose among."""

PERSON = re.compile(r"[0-9a-f]{16}")

TrialKind = Literal["main", "obvious", "repeat"]
T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """One question. case: of the pictures; shown: what stands at each position, from the first to the last."""

    kind: TrialKind
    case: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """What is asked, without the names of methods and pictures: this is what the page and every vote know.

    methods: short names that tell nothing, in no order; focal: the one that is compared with the others; cases: the
    same of the faces; obvious: the cases of the obvious trials; pictures: sha256 of all pictures; size_px: their side.
    """

    form: StudyForm
    question: str
    focal: str
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    obvious: tuple[str, ...]
    pictures: str
    size_px: int
    input_shown: bool
    rule: StudyRule
    seed: int
    format: int = FORMAT

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits: the sha256 of the design."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def sets(self) -> tuple[tuple[str, ...], ...]:
        """The methods that are shown together: the focal one with each other, or all of them."""
        if self.form == "all":
            return (self.methods,)
        return tuple((self.focal, method) for method in self.methods if method != self.focal)

    @property
    def choices(self) -> int:
        """How many pictures a question shows."""
        return len(self.sets[0])

    def to_json(self) -> str:
        """One line of JSON; equal designs give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_body(body: Any) -> Design:
        """Read a design from parsed JSON; raises InputRefused where it is none."""
        try:
            if body["format"] != FORMAT:
                raise InputRefused(f"a study of format {body['format']!r:.20}; update refacer")
            lists = {name: tuple(map(str, body[name])) for name in ("methods", "cases", "obvious")}
            design = Design(**{**body, **lists, "rule": StudyRule(**body["rule"])})
            known = design.form in get_args(StudyForm) and design.focal in design.methods
            obvious = len(design.obvious) == OBVIOUS_TRIALS and set(design.obvious) <= set(design.cases)
            if not known or not obvious or len(set(design.methods)) < 2:
                raise ValueError("not a design")
            design.to_json()
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputRefused("not the design of a study") from error
        return design

    def plan(self, person: str) -> list[Trial]:
        """What a person is asked, in order; person: 16 hexadecimal digits.

        Within a set of methods every method stands at every position equally often, to within one. The two obvious
        trials lie one in each half. Questions of the first half come again at the end, mirrored.
        """
        draws = Draws(person + self.id)
        main = draws.shuffled([trial for methods in self.sets for trial in self._square(methods, draws)])
        half = (len(main) + 1) // 2
        again = draws.shuffled(main[:half])[:REPEATS]
        obvious = self._obvious(draws)
        trials = []
        for part, trial in zip((main[:half], main[half:]), obvious, strict=True):
            at = draws.below(len(part) + 1)
            trials += [*part[:at], trial, *part[at:]]
        return trials + [Trial("repeat", trial.case, trial.shown[::-1]) for trial in again]

    def _square(self, methods: Sequence[str], draws: Draws) -> list[Trial]:
        """A question a case; a Latin square with its rows, columns and symbols shuffled says what stands where."""
        count = len(methods)
        symbols, columns = draws.shuffled(methods), draws.shuffled(range(count))
        return [
            Trial("main", case, tuple(symbols[(row + column) % count] for column in columns))
            for row, case in enumerate(draws.shuffled(self.cases))
        ]

    def _obvious(self, draws: Draws) -> list[Trial]:
        """The obvious trials; the sharp picture stands at another position in each."""
        places = draws.shuffled(range(self.choices))
        return [
            Trial("obvious", case, tuple(SHARP if at == places[i] else BLURRED for at in range(self.choices)))
            for i, case in enumerate(self.obvious)
        ]


class Draws:
    """Random numbers from 32 hexadecimal digits: xorshift128 (Marsaglia 2003, J. Stat. Softw. 8(14), Sec. 4)."""

    WARM_UP = 32

    def __init__(self, seed: str) -> None:
        self._state = [int(seed[i : i + 8], 16) for i in range(0, 32, 8)]
        self._state[3] |= 1  # not all may be 0
        for _ in range(self.WARM_UP):
            self._next()

    def _next(self) -> int:
        """The next number of 32 bits."""
        x, y, z, w = self._state
        mixed = (x ^ (x << 11)) & 0xFFFFFFFF
        self._state = [y, z, w, w ^ (w >> 19) ^ mixed ^ (mixed >> 8)]
        return self._state[3]

    def below(self, bound: int) -> int:
        """A number from 0 to bound - 1."""
        return self._next() * bound >> 32

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The same in random order (Fisher-Yates)."""
        found = list(items)
        for i in range(len(found) - 1, 0, -1):
            j = self.below(i + 1)
            found[i], found[j] = found[j], found[i]
        return found
