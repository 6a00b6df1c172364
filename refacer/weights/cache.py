"""Where installed weights are: one folder each, with a record of what was converted from which file.

    HOME/weights/NAME/        safetensors files, record.json, and pair.json where a generator is among them
    HOME/downloads/NAME.part  bytes of a download that is not complete
    HOME/first-seen.json      sha256 of files for which none is published

HOME is $REFACER_HOME or the platform's cache folder. A folder appears under its name only when everything in it is
written; who changes one holds its lock.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.weights.hashes import sha256_of

RECORD_FILE = "record.json"
RECORD_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What an installed weight came from and what it was made into.

    source_sha256, source_bytes: of the published file; origin: its URL, or 'import'; kind, notes: of `convert`;
    files: sha256 by name.
    """

    name: str
    source_sha256: str
    source_bytes: int
    origin: str
    kind: str
    notes: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Installed:
    """A weight in the cache."""

    folder: Path
    record: Record

    @property
    def bytes(self) -> int:
        """Size on the disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def path(self, file: str) -> Path:
        """A file of it, verified; raises InputRefused where it is damaged."""
        path = self.folder / file
        if not path.is_file() or sha256_of(path) != self.record.files.get(file):
            again = f"run `refacer weights pull {self.record.name} --force`"
            raise InputRefused(f"{path}: damaged or missing (sha256 differs); {again}")
        return path

    def damaged(self) -> list[str]:
        """Files that are not what was installed."""
        wanted = self.record.files.items()
        return [file for file, digest in wanted if not _has_hash(self.folder / file, digest)]


def home() -> Path:
    """The folder of everything that refacer keeps for itself."""
    named = os.environ.get("REFACER_HOME")
    return Path(named) if named else platformdirs.user_cache_path("refacer", appauthor=False)


def root() -> Path:
    """The folder of installed weights."""
    return home() / "weights"


def installed(name: str) -> Installed | None:
    """The weight of that name, if it is installed."""
    folder = root() / name
    try:
        body = json.loads((folder / RECORD_FILE).read_text())
        if body.pop("format") != RECORD_FORMAT:
            return None
        return Installed(folder, Record(**{**body, "notes": tuple(body["notes"])}))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def all_installed() -> list[Installed]:
    """Everything in the cache, by name."""
    names = sorted(path.parent.name for path in root().glob(f"*/{RECORD_FILE}") if not path.parent.name.startswith("."))
    return [found for found in map(installed, names) if found]


def owner_of(sha256: str) -> Installed | None:
    """The installed weight one of whose files has this sha256, as its record says."""
    return next((one for one in all_installed() if sha256 in one.record.files.values()), None)


def part_of(name: str) -> Path:
    """Where a download grows; its folder is made."""
    folder = home() / "downloads"
    _make(folder)
    return folder / f"{name}.part"


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the right to change a weight; waits for whoever has it. A killed process leaves no lock."""
    check_name(name)
    folder = home() / "locks"
    _make(folder)
    with FileLock(folder / f"{name}.lock"):
        yield


def check_name(name: str) -> None:
    """Raise UsageError for a name that is no plain folder name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise UsageError(f"{name}: not a name for a weight; use small letters, digits, . _ and -")


def put(record: Record, files: Mapping[str, bytes]) -> Installed:
    """Install files under the record's name, in place of what was there; the caller holds the lock."""
    target = root() / record.name
    fresh, old = (target.with_name(f".{record.name}.{state}") for state in ("new", "old"))
    try:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        (fresh / RECORD_FILE).write_text(json.dumps({"format": RECORD_FORMAT, **asdict(record)}, indent=1) + "\n")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise _not_writable(target, error) from error
    return Installed(target, record)


def remove(name: str) -> int:
    """Delete an installed weight and what was downloaded of it; returns the bytes that are free again."""
    folder, part = root() / name, part_of(name)
    doomed = [path for path in (*folder.glob("*"), part, part.with_name(f"{part.name}.json")) if path.is_file()]
    freed = sum(path.stat().st_size for path in doomed)
    try:
        for path in sorted(doomed, key=lambda path: path.name != RECORD_FILE):  # what has no record is not installed
            path.unlink()
        if folder.is_dir():
            folder.rmdir()
    except OSError as error:
        raise _not_writable(folder, error) from error
    return freed


def first_seen(name: str) -> str | None:
    """The sha256 that a file without a published one had when it was first installed here."""
    return _seen().get(name)


def remember(name: str, sha256: str) -> None:
    """Remember that sha256; it outlives the weight."""
    path = home() / "first-seen.json"
    _make(path.parent)
    with FileLock(path.with_suffix(".lock")):
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({**_seen(), name: sha256}, indent=1, sort_keys=True) + "\n")
        fresh.replace(path)


def _seen() -> dict[str, str]:
    try:
        return dict(json.loads((home() / "first-seen.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _has_hash(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(path: Path, error: OSError) -> OutputNotWritable:
    return OutputNotWritable(f"{path}: cannot be written ({error.strerror}); name another place with REFACER_HOME")
