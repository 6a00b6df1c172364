"""Single arrays of a `.npy` file, their header checked before anything is allocated or unpickled."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from refacer.errors import InputRefused

MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class StoredArray:
    """Where an array lies in a stream: its values begin at `start` and end before `end`, in the file's order."""

    stream: BinaryIO
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    start: int
    end: int

    @property
    def count(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    def values(self, first: int = 0, count: int | None = None) -> NDArray[Any]:
        """Flat values, `count` of them or the rest; raises InputRefused where the file has become shorter."""
        count = self.count - first if count is None else count
        self.stream.seek(self.start + first * self.dtype.itemsize)
        data = self.stream.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise InputRefused("has become shorter while it was read; give it again")
        return np.frombuffer(data, self.dtype, count)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All values, flat, a few million bytes at a time."""
        size = max(1, _BLOCK_BYTES // max(1, self.dtype.itemsize))
        for first in range(0, self.count, size):
            yield self.values(first, min(size, self.count - first))


def find_array(stream: BinaryIO, start: int, kinds: str) -> StoredArray:
    """The array that begins at `start`; its dtype's kind is one of `kinds`. Raises InputRefused for anything else."""
    shape, fortran_order, dtype, offset = _header(stream, start)
    if dtype.hasobject:
        raise InputRefused("holds Python objects, which could run code; save plain numbers")
    if dtype.kind not in kinds or dtype.subdtype is not None:
        raise InputRefused(f"holds {dtype} values, which do not belong here")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size_of(stream) - offset:
        raise InputRefused(f"claims shape {shape}, more than the file holds; it is cut off or damaged")
    return StoredArray(stream, dtype, shape, fortran_order, offset, offset + math.prod(shape) * dtype.itemsize)


def size_of(stream: BinaryIO) -> int:
    """How many bytes a stream holds."""
    return stream.seek(0, SEEK_END)


def _header(stream: BinaryIO, start: int) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, dtype and offset of the values."""
    stream.seek(start)
    head = BytesIO(stream.read(_MAX_HEADER_BYTES + 12))
    try:
        with warnings.catch_warnings():  # a damaged header is parsed as Python, which may warn of its spelling
            warnings.simplefilter("ignore")
            read_header = _HEADERS[npy.read_magic(head)]
            shape, fortran_order, dtype = read_header(head, max_header_size=_MAX_HEADER_BYTES)
    except Exception as error:  # numpy's parser answers damage with errors of many kinds
        raise InputRefused("not a .npy file, or a damaged one") from error
    return tuple(int(side) for side in shape), fortran_order, dtype, start + head.tell()


def array_sha256(array: NDArray[Any]) -> str:
    """sha256 of an array's type, shape and values."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
