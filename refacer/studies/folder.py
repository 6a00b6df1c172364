"""The folder of a study.

index.html          what people see: one page that needs nothing else
study.json          for the researcher: the design, and which method and face each short name stands for
votes/votes.jsonl   what `refacer study serve` has collected
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from refacer import __version__
from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.files import read_bytes, write_atomic
from refacer.files.json_text import parse_json
from refacer.studies.design import Design

PAGE, KEY, VOTES = "index.html", "study.json", "votes/votes.jsonl"


@dataclass(frozen=True)
class Key:
    """What only the researcher knows: the names of methods and faces by the short names in votes."""

    design: Design
    titles: Mapping[str, str]
    cases: Mapping[str, str]


@dataclass(frozen=True)
class StudyFolder:
    """A study on the disk."""

    path: Path

    @property
    def page(self) -> Path:
        """What people open."""
        return self.path / PAGE

    @property
    def votes(self) -> Path:
        """Where votes are collected."""
        return self.path / VOTES

    def read(self) -> Key:
        """The study's key; raises UsageError where the folder holds no study, InputRefused where it is damaged."""
        file = self.path / KEY
        if not file.is_file():
            raise UsageError(f"{self.path}: holds no study ({KEY}); make one with `refacer study make`")
        try:
            body = parse_json(read_bytes(file))
            design, titles, cases = body["design"], dict(body["methods"]), dict(body["cases"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputRefused(f"{file}: damaged; make the study again") from error
        return Key(Design.from_body(design), titles, cases)

    def claim(self, design: Design, *, force: bool) -> None:
        """Refuse a folder with another study's votes, whatever is asked, and with other files unless forced.

        Raises OutputNotWritable.
        """
        key = self.path / KEY
        if self.votes.is_file() and self.votes.stat().st_size:
            if not key.is_file() or self.read().design.id != design.id:
                raise OutputNotWritable(f"{self.votes}: votes of another study are there; choose another -o")
        elif not force and not key.is_file() and self.path.exists() and not _is_empty(self.path):
            raise OutputNotWritable(f"{self.path}: is there and holds no study; choose another -o, or give --force")

    def write(self, design: Design, titles: Mapping[str, str], cases: Mapping[str, str], page: bytes) -> None:
        """Write the page and the key, the key last."""
        body = {
            "refacer": __version__,
            "study": design.id,
            "design": asdict(design),
            "methods": dict(sorted(titles.items())),
            "cases": cases,
        }
        write_atomic(self.page, page)
        write_atomic(self.path / KEY, json.dumps(body, indent=1).encode() + b"\n")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
