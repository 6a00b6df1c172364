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
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from refacer.errors import InputRefused, OutputNotWritable, RefacerWarning, UsageError, WeightsMissing
from refacer.files.json_text import parse_json
from refacer.weights import registry
from refacer.weights.registry import sha256_of

RECORD_FILE = "record.json"
RECORD_FORMAT = 1
NOWHERE = Path(os.devnull) / "refacer"
"""A place that holds nothing and takes nothing."""


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
            raise InputRefused(f"{path}: damaged or missing (sha256 differs); {mending(self.record.name)}")
        return path

    def damaged(self) -> list[str]:
        """Files that are not what was installed."""
        paths = {self.folder / file: digest for file, digest in self.record.files.items()}
        return [path.name for path, digest in paths.items() if not path.is_file() or sha256_of(path) != digest]


def home() -> Path:
    """The folder of everything that refacer keeps for itself."""
    named = os.environ.get("REFACER_HOME")
    try:
        return Path(named) if named else platformdirs.user_cache_path("refacer", appauthor=False)
    except RuntimeError:  # a user without a home
        return NOWHERE


def root() -> Path:
    """The folder of installed weights."""
    return home() / "weights"


def installed(name: str) -> Installed | None:
    """The weight of that name, if it is installed."""
    folder = root() / name
    try:
        body = parse_json((folder / RECORD_FILE).read_bytes())
        if type(body) is not dict or body.pop("format") != RECORD_FORMAT or body["name"] != name:
            return None
        return Installed(folder, Record(**{**body, "notes": tuple(body["notes"]), "files": dict(body["files"])}))
    except PermissionError as error:
        _tell_closed(error)
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def needed(name: str) -> Installed:
    """The installed weight of that name; raises WeightsMissing with the command that gets it."""
    found = installed(name)
    if found is None:
        raise missing([name])
    return found


def missing(names: Sequence[str]) -> WeightsMissing:
    """The error for weights that are not installed, with the one command that gets them all."""
    verb = "is" if len(names) == 1 else "are"
    return WeightsMissing(f"{', '.join(names)}: {verb} not installed; run `refacer weights pull {' '.join(names)}`")


def folders() -> list[str]:
    """The names of everything in the cache, whether it can be used or not."""
    try:
        return sorted(name for name in os.listdir(root()) if not name.startswith("."))
    except PermissionError as error:
        _tell_closed(error)
    except OSError:
        pass
    return []


def all_installed() -> list[Installed]:
    """Everything in the cache that can be used, by name."""
    return [found for found in map(installed, folders()) if found]


def mending(name: str) -> str:
    """What to do about a damaged weight."""
    verb = "pull" if registry.find(name) else "import FILE --as"
    return f"run `refacer weights {verb} {name} --force`"


def owner_of(sha256: str) -> Installed | None:
    """The installed weight one of whose files has this sha256, as its record says."""
    return next((one for one in all_installed() if sha256 in one.record.files.values()), None)


def part_of(name: str) -> Path:
    """Where a download grows; its folder is made."""
    _make(_downloads())
    return _downloads() / f"{name}.part"


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the right to change a weight; waits for whoever has it. A killed process leaves no lock."""
    check_name(name)
    folder = home() / "locks"
    _make(folder)
    path = folder / f"{name}.lock"
    try:
        held = FileLock(path).acquire()
    except OSError as error:
        raise _not_writable(path, error) from error
    with held:
        yield


def check_name(name: str) -> None:
    """Raise UsageError for a name that is no plain folder name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise UsageError(f"{name}: not a name for a weight; use small letters, digits, . _ and -")


def put(record: Record, files: Mapping[str, bytes]) -> Installed:
    """Install files under the record's name, in place of what was there; the caller holds the lock."""
    target = root() / record.name
    fresh, old = _unfinished(record.name)
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


def traces(name: str) -> list[Path]:
    """All that is here of a weight: its folder, what a killed process left of one, what was downloaded."""
    parts = (_downloads() / f"{name}.part{more}" for more in ("", ".json", ".member"))
    return [path for path in (root() / name, *_unfinished(name), *parts) if os.path.exists(path)]


def remove(name: str) -> int:
    """Delete an installed weight and its other traces; returns the bytes that are free again."""
    found = traces(name)
    freed = sum(path.stat().st_size for one in found for path in (one, *one.rglob("*")) if path.is_file())
    try:
        (root() / name / RECORD_FILE).unlink(missing_ok=True)  # what has no record is not installed
        for one in found:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    except OSError as error:
        raise _not_writable(root() / name, error) from error
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
        try:
            fresh.write_text(json.dumps({**_seen(), name: sha256}, indent=1, sort_keys=True) + "\n")
            fresh.replace(path)
        except OSError as error:
            raise _not_writable(path, error) from error


def _seen() -> dict[str, str]:
    try:
        return dict(parse_json((home() / "first-seen.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _tell_closed(error: PermissionError) -> None:
    told = f"{home()}: cannot be read ({error.strerror}); weights that are installed there are not seen"
    warnings.warn(f"{told}; name another place with REFACER_HOME", RefacerWarning, stacklevel=3)


def _downloads() -> Path:
    return home() / "downloads"


def _unfinished(name: str) -> tuple[Path, Path]:
    """Where a weight is written before it is seen, and where the one before it waits to be deleted."""
    return root() / f".{name}.new", root() / f".{name}.old"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(path: Path, error: OSError) -> OutputNotWritable:
    return OutputNotWritable(f"{path}: cannot be written ({error.strerror}); name another place with REFACER_HOME")
