"""The folder of a data set: where its faces lie, the files that show them, and the journal for going on.

faces/ quarantine/REASON/   aligned faces, kept and put aside
thumbs/ sheets/ review.html what a person looks at
manifest.jsonl              a summary, a line for each face, a line for each picture that failed
dataset.zip                 the kept faces, for `refacer finetune`
measures.jsonl incoming/ downloads/   for going on
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from refacer.datasets.curation import Measured
from refacer.datasets.review import review_page
from refacer.datasets.sheets import sheets_of
from refacer.errors import OutputNotWritable
from refacer.files import write_atomic
from refacer.files.archives import write_zip
from refacer.files.json_text import parse_json
from refacer.files.sources import DATASET_FACES, DATASET_JOURNAL

KEPT, ASIDE, NOT_GIVEN = DATASET_FACES, "quarantine", "not-given"
SHEETS = {"kept": False, "quarantine": True}
CAPTION_LETTERS = 16
JOURNAL_VERSION = 1  # of what is measured: another one measures anew


@dataclass(frozen=True)
class DatasetFolder:
    """A data set on the disk."""

    path: Path

    @property
    def page(self) -> Path:
        """What a person opens in a browser."""
        return self.path / "review.html"

    @property
    def archive(self) -> Path:
        """What `refacer finetune` reads."""
        return self.path / "dataset.zip"

    @property
    def incoming(self) -> Path:
        """Where faces are put before they are judged."""
        return self.path / "incoming"

    @property
    def downloads(self) -> Path:
        """Where pictures are kept that were given as URLs."""
        return self.path / "downloads"

    @property
    def thumbnails(self) -> Path:
        """Where the small pictures of all faces are."""
        return self.path / "thumbs"

    def thumbnail(self, name: str) -> Path:
        """The small picture of a face."""
        return self.thumbnails / f"{name}.jpg"

    def names(self) -> set[str]:
        """Every face that is there, with its thumbnail."""
        small = {path.name.removesuffix(".jpg") for path in self.thumbnails.glob("*.png.jpg")}
        return {path.name for path in self._files()} & small

    def clear_incoming(self) -> None:
        """Remove faces that were made in another way and never judged."""
        for path in self.incoming.glob("*.png"):
            path.unlink()

    def finish(
        self, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]]
    ) -> None:
        """Put every face in its place and write all that shows them.

        rows: one a face, sorted by name: its measures, sources, decision, reasons and twin.
        """
        self._place({row["name"]: _place_of(row) for row in rows})
        lines = [about, *({**row, "file": f"{_place_of(row)}/{row['name']}"} for row in rows), *failures]
        write_atomic(self.path / "manifest.jsonl", _json_lines(lines).encode())
        thumbnails = {row["name"]: self.thumbnail(row["name"]).read_bytes() for row in rows}
        shown = sorted(rows, key=_doubtful_first)
        write_atomic(self.page, review_page(shown, thumbnails))
        self._write_sheets(shown, thumbnails)
        kept = [self.path / KEPT / row["name"] for row in rows if not row["reasons"]]
        if kept:
            write_zip(self.archive, kept)
        else:
            self.archive.unlink(missing_ok=True)

    def _files(self) -> Iterator[Path]:
        """All faces, wherever they are; those not yet judged first."""
        for folder in (self.incoming, self.path / KEPT, *sorted((self.path / ASIDE).glob("*/"))):
            yield from sorted(folder.glob("*.png"))

    def _place(self, places: Mapping[str, str]) -> None:
        """Move every face where it belongs; one that is there twice is taken as it was made last."""
        placed: set[str] = set()
        try:
            for path in list(self._files()):
                target = self.path / places.get(path.name, f"{ASIDE}/{NOT_GIVEN}") / path.name
                if path.name in placed:
                    if path != target:
                        path.unlink()
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
                placed.add(path.name)
            for folder in (self.incoming, *(self.path / ASIDE).glob("*/")):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        except OSError as error:
            raise OutputNotWritable(
                f"{self.path}: cannot be changed ({error.strerror}); check its permissions"
            ) from error

    def _write_sheets(self, rows: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, bytes]) -> None:
        """Contact sheets of both kinds, in place of the last call's."""
        for kind, aside in SHEETS.items():
            cells = [(thumbnails[row["name"]], _caption(row)) for row in rows if bool(row["reasons"]) == aside]
            sheets = sheets_of(cells)
            for index, sheet in enumerate(sheets):
                write_atomic(self.path / "sheets" / f"{kind}-{index + 1:03d}.png", sheet)
            for path in (self.path / "sheets").glob(f"{kind}-*.png"):
                if not path.stem.removeprefix(f"{kind}-").isdigit() or int(path.stem[len(kind) + 1 :]) > len(sheets):
                    path.unlink()


MEASURED = {field.name for field in fields(Measured)}
"""What a face's record in the journal holds."""


class Journal:
    """A line of JSON for each picture as it is done, so that the same command goes on.

    records: what is known of each picture by sha256; settings: how its faces were made, where others begin anew.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = folder / DATASET_JOURNAL
        self._file: IO[str] | None = None
        self.header = json.loads(json.dumps({"version": JOURNAL_VERSION, **settings}))
        lines = [] if fresh else _whole_lines(self.path)
        self.continued = bool(lines) and lines[0] == self.header
        self.records: dict[str, dict[str, Any]] = {line["sha256"]: line for line in lines[1:]} if self.continued else {}

    def open(self, known: Collection[str]) -> None:
        """Begin to write, with the records that still hold."""
        self.records = {digest: record for digest, record in self.records.items() if digest in known}
        write_atomic(self.path, _json_lines([self.header, *self.records.values()]).encode())
        self._file = self.path.open("a", encoding="utf-8")

    def add(self, record: dict[str, Any]) -> None:
        """Keep what was found out about a picture, at once."""
        self.records[record["sha256"]] = record
        if self._file is None:
            raise ValueError("the journal is not open")
        self._file.write(_json_lines([record]))
        self._file.flush()

    def close(self) -> None:
        """End writing; what is known stays in `records`."""
        if self._file:
            self._file.close()


def _place_of(row: Mapping[str, Any]) -> str:
    return f"{ASIDE}/{row['reasons'][0]}" if row["reasons"] else KEPT


def _doubtful_first(row: Mapping[str, Any]) -> tuple[bool, tuple[str, ...], float, str]:
    """Kept ones before others, and among equals those that the detector is least sure of."""
    return bool(row["reasons"]), tuple(row["reasons"]), row["score"], row["name"]


def _caption(row: Mapping[str, Any]) -> str:
    return (f"{row['reasons'][0]} " if row["reasons"] else "") + row["name"][:CAPTION_LETTERS]


def _json_lines(values: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The records up to the first line that is cut off or damaged."""
    lines: list[dict[str, Any]] = []
    try:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = parse_json(text)
            if not isinstance(line, dict) or (lines and not _is_record(line)):
                break
            lines.append(line)
    except (OSError, ValueError):
        return lines
    return lines


def _is_record(line: Mapping[str, Any]) -> bool:
    """Whether a line of the journal is about a picture; the first one is about the set."""
    faces = line.get("faces")
    if not isinstance(line.get("sha256"), str) or not isinstance(faces, list):
        return False
    return all(isinstance(face, dict) and face.keys() == MEASURED for face in faces)
