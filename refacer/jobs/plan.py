"""What a command reads and writes, decided before any work starts."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from refacer import console
from refacer.errors import InputRefused, RefacerError, UsageError
from refacer.files import read_passport, read_stream
from refacer.files.sources import identity, list_folder
from refacer.files.streams import open_seekable, spooled_pipe
from refacer.files.urls import as_path

STDIO = "-"
EMPTY = "stdin: empty; did the command before it fail?"


@dataclass(frozen=True)
class Item:
    """One input and its output. path None is stdin, output None is stdout; in a folder the output is the name that a
    single result takes, `stem.part.suffix` the name of one of several; key is the name without suffix, for artefacts.
    """

    path: Path | None
    output: Path | None
    key: Path

    @property
    def name(self) -> str:
        """The input as the user knows it."""
        return "stdin" if self.path is None else str(self.path)

    def read(self) -> Path | bytes:
        """What the readers in refacer/files/ take: the path, or all of stdin."""
        return read_stdin() if self.path is None else self.path

    def open(self) -> BinaryIO:
        """The same as a stream that can be sought in."""
        return open_seekable(self.path) if self.path else open_stdin()

    def part(self, label: str | None) -> Path | None:
        """Where the result with this label goes; None is the only one."""
        if label is None or self.output is None:
            return self.output
        return self.output.with_name(f"{self.output.stem}.{label}{self.output.suffix}")

    def written(self) -> list[Path]:
        """The results that an earlier call has left: the only one, or those of several."""
        if self.output is None:
            return []
        stem, suffix = self.output.stem, self.output.suffix
        several = [path for path in self.output.parent.glob(f"*{suffix}") if _is_part(path.name, stem, suffix)]
        return [*([self.output] if self.output.is_file() else []), *sorted(several)]


def _is_part(name: str, stem: str, suffix: str) -> bool:
    """Whether a name is `stem.N.suffix`."""
    return name.startswith(f"{stem}.") and name[len(stem) + 1 : -len(suffix)].isdigit()


@dataclass
class Claims:
    """Which file belongs to whom: no output twice, no output on an input."""

    inputs: set[str] = field(default_factory=set)
    outputs: dict[str, str] = field(default_factory=dict)

    def claim(self, path: Path, owner: str) -> None:
        """Reserve an output; raises UsageError where it is an input or another's output."""
        real = identity(path)
        if real in self.inputs:
            raise UsageError(f"{path}: is an input and would be overwritten; choose another place with -o")
        if self.outputs.setdefault(real, owner) != owner:
            raise UsageError(f"{path}: would be written for both {self.outputs[real]} and {owner}; rename one of them")


@dataclass(frozen=True)
class Plan:
    """All items in order, those that cannot be read at all, and the folder of the outputs, if it is one.

    definite: every item has one result, so that its name is known before the work. left_out: how many pictures in the
    folders are of a kind that is not read, by suffix.
    """

    items: tuple[Item, ...]
    folder: Path | None
    claims: Claims
    definite: bool
    refused: tuple[tuple[str, RefacerError], ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Items and refused ones."""
        return len(self.items) + len(self.refused)

    def keeps(self, *, force: bool) -> bool:
        """Whether what is there is kept, where it is up to date or not ours: in a folder, unless --force."""
        return self.folder is not None and not force


@dataclass(frozen=True)
class Kind:
    """What a command reads in folders and writes in folders (suffixes), which suffixes one output may have, and whether
    `several` results of one input may be due. makes: the last stages of its results, by which they are known again."""

    reads: Collection[str]
    writes: str
    allowed: Collection[str]
    several: bool = False
    makes: Collection[str] = ()


def make_plan(
    inputs: Sequence[Path] | None,
    output: str | None,
    kind: Kind,
    *,
    also: Iterable[Path] = (),
    extra: Iterable[Path | None] = (),
    skip: Path | None = None,
) -> Plan:
    """Plan a command; raises UsageError where that is impossible.

    also: more files it reads; extra: more files it writes; skip: a folder that is not searched.
    """
    given = stdin_if_none(inputs)
    folder = _folder(given, output, kind.several)
    search = _Search(kind, folder, skip)
    found = list(search.inputs(given))
    if not found and not search.refused and not search.finished:
        raise UsageError(f"{', '.join(map(str, given))}: holds no input ({' '.join(sorted(kind.reads))})")
    single = None if folder else _single(output, kind)
    items = tuple(_item(path, relative, folder, single, kind) for path, relative in found)
    claims = Claims(_distinct([item.path for item in items if item.path]) | {identity(path) for path in also})
    for item in items:
        if item.output:
            claims.claim(item.output, item.name)
    for path in extra:
        if path:
            claims.claim(path, "a report")
    return Plan(items, folder, claims, not kind.several, tuple(search.refused), search.left_out)


def stdin_if_none(inputs: Sequence[Path] | None) -> list[Path]:
    """The inputs given, or stdin; raises UsageError where stdin is a terminal or named twice."""
    given = list(inputs or [Path(STDIO)])
    if given.count(Path(STDIO)) > 1:
        raise UsageError("- (stdin) can be read only once")
    if Path(STDIO) in given and sys.stdin.isatty():
        raise UsageError("no input: name a file or a folder, or pipe something in")
    return given


def single_output(output: str | None, allowed: Collection[str]) -> Path | None:
    """The one output of a command: a file, or None for stdout; raises UsageError."""
    if output is None or output == STDIO:
        if sys.stdout.isatty():
            raise UsageError("stdout is a terminal and the result is binary; name a file with -o")
        return None
    path = as_path(output)
    if path.suffix.lower() not in allowed and (path.suffix or not path.exists()):
        raise UsageError(f"-o {output}: the result is a file of type {' '.join(sorted(allowed))}")
    return path


def read_stdin() -> bytes:
    """All of stdin, bounded; raises InputRefused where there is nothing or too much."""
    data = read_stream(sys.stdin.buffer)
    if not data:
        raise InputRefused(EMPTY)
    return data


def open_stdin() -> BinaryIO:
    """The same as a stream that can be sought in, on the disk where it is large."""
    stream = spooled_pipe(sys.stdin.buffer)
    if not stream.read(1):
        stream.close()
        raise InputRefused(EMPTY)
    stream.seek(0)
    return stream


def _folder(given: Sequence[Path], output: str | None, several: bool) -> Path | None:
    """The output folder, or None for one file or stdout."""
    many = several or len(given) > 1 or any(path.is_dir() for path in given)
    if output is None or output == STDIO:
        if many:
            raise UsageError("several outputs are due; name a folder with -o")
        return None
    path = as_path(output)
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path
    if not many:
        return None
    if path.suffix or path.exists():
        raise UsageError(f"-o {output}: several outputs are due and this names one file; end it in / for a folder")
    return path


def _single(output: str | None, kind: Kind) -> Path | str:
    return single_output(output, kind.allowed) or STDIO


@dataclass
class _Search:
    """Looks for the inputs.

    refused: what cannot be read; left_out: pictures of kinds that are not, by suffix; finished: results of earlier
    calls, how many.
    """

    kind: Kind
    folder: Path | None
    skip: Path | None
    refused: list[tuple[str, RefacerError]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    finished: int = 0

    def inputs(self, given: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
        """Each input and its name below the output folder; a folder gives its files, sorted."""
        for path in given:
            if path.is_dir():
                yield from self._in_folder(path)
            elif not self._is_finished(path, path.parent):
                yield path, Path("stdin") if str(path) == STDIO else Path(path.name)
        if self.finished:
            console.note(f"{self.folder}: {self.finished} results of an earlier call are no inputs")

    def _in_folder(self, path: Path) -> Iterator[tuple[Path, Path]]:
        """Of files that differ in their suffix alone, those not of the kind that is written keep it in their name."""
        listing = list_folder(path, self.kind.reads, [self.folder, self.skip])
        self.refused.extend(listing.refused)
        if doubled := listing.doubled:
            console.warn(f"{path}: {len(doubled)} links to inputs are left out, the first is {doubled[0]}")
        self.left_out.update(listing.unread)
        entries = [entry for entry in listing.entries if not self._is_finished(entry.path, path)]
        stems = Counter(entry.below.with_suffix("") for entry in entries)
        # the files of a folder come before those of the folders in it
        for entry in sorted(entries, key=lambda entry: (entry.below.parts[:-1], entry.below.name)):
            alone = stems[entry.below.with_suffix("")] == 1 or entry.below.suffix.lower() == self.kind.writes
            yield entry.path, entry.below if alone else entry.below.with_name(entry.below.name + self.kind.writes)

    def _is_finished(self, path: Path, top: Path) -> bool:
        """Whether a file is a result of this command, where results go into the folder of the inputs."""
        if self.folder is None or path.suffix.lower() != self.kind.writes or identity(top) != identity(self.folder):
            return False
        try:
            faces = read_passport(path).faces
        except RefacerError:
            return False
        finished = any(face.stages and face.stages[-1].stage in self.kind.makes for face in faces)
        self.finished += finished
        return finished


def _item(path: Path, relative: Path, folder: Path | None, single: Path | str | None, kind: Kind) -> Item:
    """The item of one input file or stdin."""
    source = None if str(path) == STDIO else path
    key = relative.with_name(relative.stem)
    if folder:
        return Item(source, (folder / key).with_name(f"{key.name}{kind.writes}"), key)
    return Item(source, None if isinstance(single, str) else single, key)


def _distinct(paths: Sequence[Path]) -> set[str]:
    """The inputs' identities; raises UsageError where one is given twice."""
    known: set[str] = set()
    for path in paths:
        if identity(path) in known:
            raise UsageError(f"{path}: given twice; name it once")
        known.add(identity(path))
    return known
