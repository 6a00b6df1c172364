"""The journal of a data set: a line of JSON for each picture as it is done, so that the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from refacer.files import write_atomic

NAME = "measures.jsonl"
VERSION = 1
"""Of what is measured: another one measures anew."""


class Journal:
    """What is known of each picture by sha256; `settings` say how its faces were made, others start a new journal."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = folder / NAME
        self.header = json.loads(json.dumps({"version": VERSION, **settings}))
        lines = [] if fresh else _read(self.path)
        self.continued = bool(lines) and lines[0] == self.header
        self.records: dict[str, dict[str, Any]] = {line["sha256"]: line for line in lines[1:]} if self.continued else {}

    def open(self, known: Collection[str]) -> None:
        """Begin to write, with the records that still hold."""
        self.records = {digest: record for digest, record in self.records.items() if digest in known}
        lines = (self.header, *self.records.values())
        write_atomic(self.path, "".join(map(_line, lines)).encode())
        self._file = self.path.open("a", encoding="utf-8")

    def add(self, record: dict[str, Any]) -> None:
        """Keep what was found out about a picture, at once."""
        self.records[record["sha256"]] = record
        self._file.write(_line(record))
        self._file.flush()

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values) + "\n"


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole: the last one may have been cut off."""
    lines: list[dict[str, Any]] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            lines.append(json.loads(line))
    except (OSError, ValueError):
        return lines
    return lines
