"""The weights of others: what each is for, where it is published, what it must be, under which terms.

The entries are in registry.toml.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from refacer.errors import InputRefused, UsageError

REGISTRY = Path(__file__).with_name("registry.toml")

UNSTATED = "unstated"
"""The licence of a weight that is not in the registry."""

Commercial = Literal["yes", "unclear", "no"]
SEVERITY: tuple[str, ...] = ("yes", "unclear", "no")
"""Answers to "may it be used commercially?", from the mildest to the strictest."""


@dataclass(frozen=True)
class Licence:
    """Terms in one sentence, and where they stand in full."""

    title: str
    url: str
    terms: str


@dataclass(frozen=True)
class Weight:
    """One published file.

    kind: what `convert` must find in it; None for files that stay as they are.
    bytes and sha256 are None where nobody published them. member: the part of an archive, or of an installed package,
    that is meant. package: the Python package that ships it; such a weight is never downloaded.
    """

    name: str
    role: str
    file: str
    format: str
    licence: Licence
    commercial: Commercial
    purpose: str
    kind: str | None = None
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    member: str | None = None
    package: str | None = None


def weights() -> tuple[Weight, ...]:
    """All entries, in the order of the file."""
    return _read(REGISTRY)


def find(name: str | None) -> Weight | None:
    """The entry of that name, None where there is none."""
    return next((entry for entry in weights() if entry.name == name), None)


def weight(name: str) -> Weight:
    """The entry of that name; raises UsageError with the nearest names."""
    found = find(name)
    if found is None:
        near = get_close_matches(name, [entry.name for entry in weights()], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "see `refacer weights list`"
        raise UsageError(f"{name}: not a known weight; {hint}")
    return found


def weight_with_hash(sha256: str) -> Weight | None:
    """The entry whose published file has this sha256."""
    return next((entry for entry in weights() if entry.sha256 == sha256), None)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; raises InputRefused for a device or a pipe, which may have no end."""
    if path.exists() and not path.is_file():
        raise InputRefused(f"{path}: not a regular file; copy what it gives into one")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def strictest(answers: list[str]) -> str:
    """What several weights allow together: the strictest of their answers; anything unknown is 'unclear'."""
    known = [answer if answer in SEVERITY else "unclear" for answer in answers]
    return max(known, key=SEVERITY.index, default="unclear")


@cache
def _read(path: Path) -> tuple[Weight, ...]:
    body = tomllib.loads(path.read_text(encoding="utf-8"))
    licences = {name: Licence(**values) for name, values in body["licences"].items()}
    return tuple(
        Weight(**{**values, "licence": licences[values["licence"]], "urls": tuple(values.get("urls", ()))})
        for values in body["weights"]
    )
