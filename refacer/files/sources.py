"""Sets of pictures: what counts in a folder or a zip, in which order, and how each is read.

Hidden files and folders never count, nor what systems leave beside pictures (`JUNK`); in folders only regular files
do, in zips only members that are such. Linked folders are entered, each real folder once and each real file once,
under its own name rather than a link's. A folder that `refacer dataset` made stands for the faces it kept.
"""

from __future__ import annotations

import os
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from refacer.errors import InputRefused, RefacerError, RefacerWarning, UsageError
from refacer.files.archives import DAMAGE, Archives
from refacer.files.decoding import READABLE
from refacer.files.json_text import parse_json
from refacer.files.streams import read_bytes
from refacer.files.urls import files_below, is_url

JUNK = ("__macosx", "thumbs.db", "desktop.ini")
"""Names, in small letters, that macOS and Windows add to folders and zips; their other ones begin with a dot."""

DATASET_JOURNAL, DATASET_FACES = "measures.jsonl", "faces"
"""What tells a folder of `refacer dataset`, and where in it the kept faces are."""

HEADER_BYTES = 64 * 1024


_RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".raf")
_LAYERED = (".kra", ".pdf", ".psb", ".psd", ".svg", ".xcf")
_OTHERS = (".dds", ".exr", ".gif", ".hdr", ".heic", ".heif", ".jp2", ".jxl", ".pgm", ".ppm")
UNREAD = frozenset((*_RAW, *_LAYERED, *_OTHERS))
"""Suffixes of pictures that are not read: what is passed over for them is told."""


@dataclass(frozen=True)
class Entry:
    """A picture of a set: a file, or the member of a zip. below: its path within the set."""

    path: Path
    below: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """As the user knows it: a path, or ZIP::MEMBER."""
        return str(self.path) if self.member is None else f"{self.path}::{self.member}"

    def read(self, archives: Archives) -> bytes:
        """Its bytes, at most MAX_FILE_BYTES; raises InputRefused, or UsageError where the file has gone."""
        return read_bytes(self.path) if self.member is None else archives.read(self.path, self.member)


@dataclass(frozen=True)
class Listing:
    """What a source holds, sorted by name; what in it cannot be looked into; links to files that are taken already.

    unread: how many pictures of a folder are of a kind that is not read, by suffix.
    """

    entries: tuple[Entry, ...]
    refused: tuple[tuple[str, RefacerError], ...] = ()
    doubled: tuple[Path, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)


def list_pictures(source: Path) -> Listing:
    """The pictures in a folder or a zip; raises UsageError for anything else, InputRefused for a damaged zip."""
    if source.is_dir():
        return list_folder(source)
    if is_zip(source):
        return list_zip(source)
    raise UsageError(f"{source}: neither a folder nor a zip of pictures")


def list_folder(top: Path, suffixes: Collection[str] = READABLE, skip: Iterable[Path | None] = ()) -> Listing:
    """The files below a folder that end in one of `suffixes`, but none below `skip`; raises nothing.

    Where pictures are looked for, those of a kind that is not read are told in a RefacerWarning.

    Their order, like that of a zip's members, is that of their whole names: with it come a set's hash and batches.
    """
    if is_url(top):
        return _list_url(top, suffixes, skip)
    root = top / DATASET_FACES if is_dataset(top) else top
    walk = _Walk(frozenset(suffixes), frozenset(identity(folder) for folder in skip if folder))
    walk.go(root)
    entries = [Entry(path, path.relative_to(root)) for path in sorted(walk.taken.values(), key=str)]
    unread = _told(top, walk.unread if ".png" in suffixes else Counter())
    return Listing(tuple(entries), tuple(walk.refused), tuple(walk.doubled), unread)


def _list_url(top: Path, suffixes: Collection[str], skip: Iterable[Path | None]) -> Listing:
    """The same behind a URL, where there are no links."""
    avoided = tuple(f"{folder}/" for folder in skip if folder)
    try:
        found = [
            (path, below)
            for path, below in files_below(top)
            if all(map(counts, below.parts)) and not str(path).startswith(avoided)
        ]
    except InputRefused as error:
        return Listing((), ((str(top), error),))
    entries = [Entry(path, below) for path, below in found if below.suffix.lower() in suffixes]
    unread = Counter(below.suffix.lower() for _, below in found if ".png" in suffixes)
    return Listing(tuple(entries), unread=_told(top, unread))


def list_zip(path: Path, suffixes: Collection[str] = READABLE) -> Listing:
    """The members of a zip that end in one of `suffixes`; InputRefused where it is damaged. Tells as `list_folder`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename for info in archive.infolist() if _is_regular(info)}
    except (*DAMAGE, OSError, ValueError) as error:
        raise InputRefused(f"{path}: damaged, not a readable zip; pack it again") from error
    shown = [name for name in sorted(names) if all(map(counts, PurePosixPath(name.replace("\\", "/")).parts))]
    chosen = [name for name in shown if PurePosixPath(name).suffix.lower() in suffixes]
    unread = _told(path, Counter(PurePosixPath(name).suffix.lower() for name in shown))
    return Listing(tuple(Entry(path, Path(name), name) for name in chosen), unread=unread)


def _told(source: Path, suffixes: Counter[str]) -> dict[str, int]:
    """How many files of a source are pictures of a kind that is not read, by suffix; said in a line."""
    unread = {suffix: suffixes[suffix] for suffix in sorted(UNREAD) if suffixes[suffix]}
    if unread:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in unread.items())
        told = f"{source}: {sum(unread.values())} files left out, of kinds that are not read ({kinds}); save as PNG"
        warnings.warn(told, RefacerWarning, stacklevel=3)
    return unread


def is_zip(path: Path) -> bool:
    """Whether a file is a zip or was one before it was damaged."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return True
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def is_dataset(folder: Path) -> bool:
    """Whether `refacer dataset` made a folder."""
    try:
        with (folder / DATASET_JOURNAL).open("rb") as stream:
            header = parse_json(stream.readline(HEADER_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and {"version", "align", "models"} <= header.keys()


def counts(name: str) -> bool:
    """Whether a file or folder of this name is looked at."""
    return not name.startswith(".") and name.lower() not in JUNK


def identity(path: Path | str) -> str:
    """The same for two names of one file or folder."""
    return os.path.normcase(os.path.realpath(str(path)))


def read_list(path: Path) -> list[str]:
    """The lines of a text file, each once, without empty ones and those that begin with #; raises InputRefused."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: not a text file in UTF-8; give a list, one entry a line") from error
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


@dataclass
class _Walk:
    """A walk through folders; what is linked to comes after all that is there itself."""

    suffixes: frozenset[str]
    avoided: frozenset[str]
    taken: dict[str, Path] = field(default_factory=dict)
    refused: list[tuple[str, RefacerError]] = field(default_factory=list)
    doubled: list[Path] = field(default_factory=list)
    entered: set[str] = field(default_factory=set)
    linked: list[Path] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    def go(self, root: Path) -> None:
        """Take every file of the folders that are reached from this one."""
        waiting = [root]
        for start in waiting:  # grows by the linked folders
            for name, names, files in os.walk(start, onerror=self._refuse):
                folder, real = Path(name), identity(name)
                if real in self.entered:
                    names.clear()
                    continue
                self.entered.add(real)
                if is_dataset(folder):
                    names[:], files = [one for one in names if one == DATASET_FACES], []
                names[:] = sorted(n for n in names if counts(n) and identity(folder / n) not in self.avoided)
                waiting.extend(folder / n for n in names if (folder / n).is_symlink())
                self._take_files(folder, real, files)
        for path in self.linked:
            self._take_link(path)

    def _take_files(self, folder: Path, real: str, files: Iterable[str]) -> None:
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if not counts(name):
                continue
            if suffix not in self.suffixes:
                self.unread[suffix] += 1
                continue
            path = folder / name
            try:
                mode = path.lstat().st_mode
            except OSError as error:
                self._refuse(error)
                continue
            if stat.S_ISLNK(mode):
                self.linked.append(path)
            elif stat.S_ISREG(mode):
                self.taken.setdefault(os.path.join(real, os.path.normcase(name)), path)

    def _take_link(self, path: Path) -> None:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            self._refuse(error)
            return
        if stat.S_ISREG(mode) and self.taken.setdefault(identity(path), path) != path:
            self.doubled.append(path)

    def _refuse(self, error: OSError) -> None:
        name = str(error.filename)
        self.refused.append((name, InputRefused(f"{name}: cannot be read ({error.strerror})")))


def _is_regular(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a file: no folder, no link where the zip tells, and not without a name."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return info.filename != "" and not info.is_dir() and kind in (0, stat.S_IFREG)
