"""The folder of a data set: where its faces lie, and the files that show them.

faces/ quarantine/REASON/   aligned faces, kept and put aside
thumbs/ sheets/ review.html what a person looks at
manifest.jsonl              a summary, a line for each face, a line for each picture that failed
dataset.zip                 the kept faces, for `refacer finetune`
measures.jsonl incoming/ downloads/   for going on
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refacer.datasets.review import review_page
from refacer.datasets.sheets import sheets_of
from refacer.errors import OutputNotWritable
from refacer.files import write_atomic
from refacer.files.archives import write_zip

KEPT, ASIDE, NOT_GIVEN = "faces", "quarantine", "not-given"
SHEETS = {"kept": False, "quarantine": True}
CAPTION_LETTERS = 26


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
        write_atomic(self.path / "manifest.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
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


def _place_of(row: Mapping[str, Any]) -> str:
    return f"{ASIDE}/{row['reasons'][0]}" if row["reasons"] else KEPT


def _doubtful_first(row: Mapping[str, Any]) -> tuple[bool, tuple[str, ...], float, str]:
    """Kept ones before others, and among equals those that the detector is least sure of."""
    return bool(row["reasons"]), tuple(row["reasons"]), row["score"], row["name"]


def _caption(row: Mapping[str, Any]) -> str:
    return (f"{row['reasons'][0]} " if row["reasons"] else "") + row["name"][: CAPTION_LETTERS - 10]
