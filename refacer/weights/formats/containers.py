"""The containers of public weight files: plain pickles, PyTorch's two formats, Jittor's pickle with its checksum.

`read_weights` gives their content as inert data (refacer/weights/formats/inert.py): dicts, lists, texts, numbers,
tensors that are not read yet. `torch.load` is not used: nested storages would need it without `weights_only`, and even
with it a stream's claims and hash collisions cost unbounded memory and time.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refacer.errors import InputRefused, ShapeMismatch, WeightsMissing
from refacer.weights.formats.bounded import Stream, shown
from refacer.weights.formats.inert import NAMES, STORAGES, Storage, storage_dtype
from refacer.weights.formats.unpickle import Budget, Names, unpickle

MAX_FILE_BYTES = 8 << 30
MAX_ZIP_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 16 << 20  # a zip archive's list of its entries

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
JITTOR_TAG = b"HCAJSLHD"
SHA1_BYTES = 20

DAMAGE = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, EOFError, RuntimeError,
    struct.error, zipfile.BadZipFile, OSError,
)  # fmt: skip


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file leads to into one line that names the file."""
    try:
        yield
    except InputRefused as error:
        raise InputRefused(f"{path}: {error}") from error
    except ShapeMismatch as error:
        raise InputRefused(f"{path}: describes an impossible network: {shown(str(error))}") from error
    except DAMAGE as error:
        raise InputRefused(f"{path}: damaged, or not a weight file ({type(error).__name__})") from error


def read_weights(path: Path) -> Any:
    """The content of a file as inert data. Raises WeightsMissing, InputRefused, or what `refusing` words."""
    if not path.is_file():
        raise WeightsMissing(f"{path}: no such weight file")
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise InputRefused("empty" if not size else f"larger than {MAX_FILE_BYTES >> 30} GiB")
    with path.open("rb") as file:
        return read_content(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def read_content(data: memoryview) -> Any:
    """The same of a file's bytes."""
    if data[:2] == b"PK":
        return _read_zip(data)
    if data[-len(JITTOR_TAG) :] == JITTOR_TAG:
        return _whole(Stream(_checked_by_sha1(data)))
    return _whole(Stream(data))


def _whole(stream: Stream) -> Any:
    """A plain pickle, or PyTorch's format before 1.6, which starts with a pickle of a number.

    A nested storage may mention less than the pickle around it, so there is no second level.
    """
    budget = Budget(stream.left)
    nesting = {**NAMES, "torch.storage _load_from_bytes": lambda data: _nested_storage(data, budget)}
    content = unpickle(stream, nesting, budget)
    if type(content) is int and content == LEGACY_MAGIC:
        content = _after_magic(stream, NAMES, budget)
    if stream.left:
        raise InputRefused("damaged: something follows its end")
    return content


def _checked_by_sha1(data: memoryview) -> memoryview:
    """The pickle of a Jittor file; InputRefused where its checksum is another."""
    pickle, tail = data[: -SHA1_BYTES - len(JITTOR_TAG)], data[-SHA1_BYTES - len(JITTOR_TAG) : -len(JITTOR_TAG)]
    if hashlib.sha1(pickle, usedforsecurity=False).digest() != tail:
        raise InputRefused("damaged: its sha1 is another than the one it ends with; get it again")
    return pickle


def _after_magic(stream: Stream, names: Names, budget: Budget) -> Any:
    """The rest of a legacy file: protocol, system, object, keys, then each storage's length and numbers."""
    protocol, system = (unpickle(stream, {}, budget) for _ in range(2))
    if protocol != LEGACY_PROTOCOL or type(system) is not dict or system.get("little_endian") is not True:
        raise InputRefused("a PyTorch file of an unknown protocol or byte order")
    storages: dict[str, Storage] = {}

    def stored(tag: Any, kind: Any, key: Any, _place: Any, numel: Any, view: Any = None) -> Storage:
        if view is not None:
            raise InputRefused("a PyTorch file with storages inside of storages")
        return _entered(storages, tag, kind, key, numel)

    content = unpickle(stream, names, budget, stored)
    keys = unpickle(stream, {}, budget)
    if type(keys) is not list or len(keys) != len(storages):
        raise InputRefused("damaged: its list of storages is another's")
    for key in keys:
        storage = storages[key if type(key) is str else ""]
        if struct.unpack("<q", stream.view(8)) != (storage.numel,):
            raise InputRefused("damaged: a storage of another length than described")
        storage.read = _reader(stream.view(storage.nbytes))
    return content


def _reader(data: memoryview) -> Callable[[], memoryview]:
    return lambda: data


def _entered(storages: dict[str, Storage], tag: Any, kind: Any, key: Any, numel: Any) -> Storage:
    """The storage of a persistent id, the same for the same key."""
    if tag != "storage" or type(key) is not str or type(numel) is not int or numel < 0:
        raise InputRefused("holds a whole program, not a state dict; get the file of its weights")
    storage = storages.setdefault(key, Storage(storage_dtype(kind), numel))
    if (storage.dtype, storage.numel) != (storage_dtype(kind), numel):
        raise InputRefused("damaged: a storage described twice, differently")
    return storage


def _nested_storage(data: Any, budget: Budget) -> Storage:
    """What torch.storage._load_from_bytes reads: a legacy file that holds one storage and mentions nothing else."""
    if type(data) is not bytes:
        raise InputRefused("damaged: a storage that is no bytes")
    stream = Stream(memoryview(data))
    if unpickle(stream, {}, budget) != LEGACY_MAGIC:
        raise InputRefused("damaged: a storage of an unknown format")
    storage = _after_magic(stream, dict.fromkeys(STORAGES), budget)
    if type(storage) is not Storage or stream.left:
        raise InputRefused("damaged: a storage that is something else")
    return storage


def _read_zip(data: memoryview) -> Any:
    """PyTorch's format since 1.6: `NAME/data.pkl` and the storages under `NAME/data/`, none of them compressed."""
    stream = Stream(data, most=MAX_DIRECTORY_BYTES)
    archive = zipfile.ZipFile(stream)  # type: ignore[arg-type]
    stream.most = len(data)
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) > MAX_ZIP_ENTRIES or sum(entry.file_size for entry in entries.values()) > len(data):
        raise InputRefused("a zip archive that claims more than it holds")
    root = _root(set(entries))
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries.values()):
        raise InputRefused("a compressed zip archive; PyTorch writes none")
    if f"{root}/byteorder" in entries and archive.read(f"{root}/byteorder") != b"little":
        raise InputRefused("a PyTorch file of big-endian numbers")
    storages: dict[str, Storage] = {}

    def stored(tag: Any, kind: Any, key: Any, _place: Any, numel: Any) -> Storage:
        storage = _entered(storages, tag, kind, key, numel)
        entry = entries[f"{root}/data/{key}"]
        if entry.file_size != storage.nbytes:
            raise InputRefused("damaged: a storage of another length than described")
        storage.read = lambda: archive.read(entry)
        return storage

    head = Stream(memoryview(archive.read(f"{root}/data.pkl")))
    return unpickle(head, NAMES, Budget(head.left), stored)


def _root(names: set[str]) -> str:
    """The folder that a PyTorch archive keeps its files in; InputRefused where it is none, or a program."""
    roots = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        raise InputRefused("a zip archive that PyTorch did not write; unpack it and give the weight file in it")
    if f"{roots[0]}/constants.pkl" in names:
        raise InputRefused("a TorchScript program; get the file of its weights (a state dict) instead")
    return roots[0]
