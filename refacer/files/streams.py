"""Bytes in and out: bounded reading, atomic writing, and how an input is named in a message."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, cast

from refacer.errors import InputRefused, OutputNotWritable, RefacerError, RefacerWarning, UsageError
from refacer.files.urls import is_url, reason_of, write_url

MAX_FILE_BYTES = 4 * 1024**3
"""More is not read from one file or pipe: 200 million pixels of RGBA with 16 bits take 1.6 GB."""

SPOOLED_BYTES = 64 * 1024**2
"""So much of a pipe that has to be sought in is kept in memory."""

_NOT_OFFERED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_BLOCK_BYTES = 1024 * 1024


def shown(data: Path | bytes) -> str:
    """The input's name in a message: its path on one line, or "stdin" for bytes."""
    if isinstance(data, bytes):
        return "stdin"
    name = str(data)
    return name if name.isprintable() else repr(name)


def read_stream(stream: BinaryIO, name: str = "stdin") -> bytes:
    """Read a file or a pipe to its end; raises InputRefused beyond MAX_FILE_BYTES."""
    buffer = BytesIO()
    for block in blocks_of(stream):
        buffer.write(block)
        if buffer.tell() > MAX_FILE_BYTES:
            raise InputRefused(_too_large(name))
    return buffer.getvalue()


def blocks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """What a stream still holds, a million bytes at a time."""
    while block := stream.read(_BLOCK_BYTES):
        yield block


def read_bytes(data: Path | bytes) -> bytes:
    """The bytes of a file, or those given; UsageError for no file or a folder, InputRefused where reading fails."""
    if isinstance(data, bytes):
        return data
    with _reading(data), data.open("rb") as stream:
        return read_stream(stream, shown(data))


def open_seekable(data: Path | bytes) -> BinaryIO:
    """A stream of a file, or of the bytes given, that can be sought in. Raises as `read_bytes` does."""
    if isinstance(data, bytes) or is_url(data):
        return BytesIO(read_bytes(data))
    with _reading(data):
        stream = data.open("rb")
    if not stream.seekable():
        with stream:
            return spooled_pipe(stream, shown(data))
    if stream.seek(0, os.SEEK_END) > MAX_FILE_BYTES:
        stream.close()
        raise InputRefused(_too_large(shown(data)))
    stream.seek(0)
    return stream


def spooled_pipe(stream: BinaryIO, name: str = "stdin") -> BinaryIO:
    """All of a pipe, to be sought in; raises InputRefused beyond MAX_FILE_BYTES."""
    return spooled(blocks_of(stream), MAX_FILE_BYTES, _too_large(name))


def spooled(blocks: Iterable[bytes], limit: int, told: str) -> BinaryIO:
    """Blocks of bytes as a stream that can be sought in, beyond SPOOLED_BYTES in a temporary file that has no name.

    Whoever takes it closes it. Raises InputRefused, which says `told`, for more than `limit` bytes, and OSError where
    the disk is full.
    """
    kept = cast(BinaryIO, SpooledTemporaryFile(SPOOLED_BYTES))  # noqa: SIM115
    try:
        for block in blocks:
            kept.write(block)
            if kept.tell() > limit:
                raise InputRefused(told)
        kept.seek(0)
    except BaseException:
        kept.close()
        raise
    return kept


def _too_large(name: str) -> str:
    return f"{name}: more than {MAX_FILE_BYTES // 1024**3} GiB; give a smaller file"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say what the system, or a library behind a URL, has against reading a file."""
    name = shown(path)
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(f"{name}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise UsageError(f"{name}: a folder; name a file") from error
    except OSError as error:
        raise InputRefused(f"{name}: cannot be read ({error.strerror or error}); check its permissions") from error
    except Exception as error:  # libraries behind URLs raise their own
        if not is_url(path) or isinstance(error, RefacerError):
            raise
        raise InputRefused(f"{name}: cannot be read ({reason_of(error)})") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing; what was written survives a power cut (see `replacing`).

    Makes missing folders; follows a link to its target; permissions are the umask's. A device or a pipe
    is written to directly. Raises OutputNotWritable; leaves nothing half-written, whatever interrupts it. For a URL see
    `write_url`.
    """
    if is_url(path):
        write_url(path, data)
        return
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            target.write_bytes(data)
            return
        with replacing(target) as stream:
            stream.write(data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputNotWritable(f"{shown(path)}: cannot be written ({reason}); choose another output") from error


def try_folder(folder: Path) -> None:
    """Make and remove a file in an existing folder; raises OutputNotWritable where it takes none."""
    part = _part(folder)
    try:
        part.touch(exist_ok=False)
        part.unlink()
    except OSError as error:
        raise OutputNotWritable(
            f"{shown(folder)}: takes no files ({error.strerror}); choose another output, or change its permissions"
        ) from error


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes take the place of `target` in one step where the block ends without an error.

    They go to a temporary file in the same folder, to the disk, then by `os.replace` to their name, which goes to the
    disk as well; where the file system does not offer that, a RefacerWarning says so once. Raises OSError.
    """
    part = _part(target.parent)
    try:
        with part.open("xb") as stream:
            yield stream
            synced = sync(stream)
        os.replace(part, target)
    except BaseException:  # a keyboard interrupt must not leave the part behind either
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    if not synced:
        tell_of_unsynced(target.parent.stat().st_dev)


@cache
def tell_of_unsynced(_device: int) -> None:
    """Warn of a file system once, as the cache remembers."""
    told = "the output's file system does not say when a file is on the disk; it may not survive a power cut"
    warnings.warn(told, RefacerWarning, stacklevel=4)


def _part(folder: Path) -> Path:
    """A name for a temporary file of ours."""
    return folder / f".refacer-{secrets.token_hex(8)}.part"


def sync(stream: IO[Any]) -> bool:
    """Wait until all that was written is on the disk; False where the file system does not offer that."""
    stream.flush()
    try:
        os.fsync(stream.fileno())
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """The same for the names in a folder, as far as platform and file system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
