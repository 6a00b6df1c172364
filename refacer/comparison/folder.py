"""The folder of a comparison: the pictures of several methods of the same faces.

METHOD/FACE.png      what each method made of each face
inputs/FACE.png      what they were given
truth/FACE.png       what the face looks like in truth, where that is known
compare.json         the methods in order with their titles, the faces, and the weights that were used

Without compare.json every folder of pictures but `inputs` and `truth` is a method, so that pictures from elsewhere can
be laid out by hand.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from refacer.errors import InputRefused, UsageError
from refacer.files import read_bytes
from refacer.files.json_text import parse_json
from refacer.files.sources import counts, list_folder

INPUTS, TRUTH, RECORD = "inputs", "truth", "compare.json"


@dataclass(frozen=True)
class ComparisonFolder:
    """A folder of methods. methods: names in order; faces: those that count, None for all that are there."""

    path: Path
    methods: tuple[str, ...]
    faces: Collection[str] | None = None

    @classmethod
    def read(cls, path: Path) -> ComparisonFolder:
        """What is there; raises UsageError for no folder or one without methods, InputRefused for a broken record."""
        if not path.is_dir():
            raise UsageError(f"{path}: no folder; name one that holds a folder of pictures for each method")
        record = path / RECORD
        if record.is_file():
            return cls(path, *_recorded(record))
        folders = sorted(one for one in path.iterdir() if one.is_dir() and counts(one.name))
        named = [one for one in folders if one.name not in (INPUTS, TRUTH) and list_folder(one).entries]
        if not named:
            raise UsageError(
                f"{path}: holds no folder of pictures; each method's pictures lie in a folder of their own"
            )
        return cls(path, tuple(one.name for one in named))

    def pictures(self, name: str) -> dict[str, Path]:
        """The pictures of a method, of INPUTS or of TRUTH by the face's name, sorted; empty where there are none.

        Raises UsageError where two have one name, what list_folder refuses where a part cannot be looked into.
        """
        if not (self.path / name).is_dir():
            return {}
        listing = list_folder(self.path / name)
        for _, error in listing.refused:
            raise error
        found: dict[str, Path] = {}
        for entry in listing.entries:
            key = entry.below.with_suffix("").as_posix()
            if key in found:
                raise UsageError(f"{self.path / name}: two pictures are called {key}; keep one of them")
            found[key] = entry.path
        return {key: found[key] for key in sorted(found) if self.faces is None or key in self.faces}


def _recorded(record: Path) -> tuple[tuple[str, ...], frozenset[str]]:
    """The methods and the faces."""
    try:
        body = parse_json(read_bytes(record))
        return tuple(map(str, body["methods"])), frozenset(map(str, body["faces"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputRefused(f"{record}: damaged; run `refacer compare` again, or remove it") from error
