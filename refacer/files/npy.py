"""Single arrays of a `.npy` file, their header checked before anything is allocated or unpickled."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from refacer.errors import InputRefused

MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class StoredArray:
    """An array as it lies in a file: `values` flat and in the file's order, `end` the offset just behind them."""

    values: NDArray[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    end: int


def read_array(data: bytes, start: int, kinds: str) -> StoredArray:
    """The array that begins at `start`; its dtype's kind is one of `kinds`. Raises InputRefused for anything else."""
    shape, fortran_order, dtype, offset = _header(data, start)
    if dtype.hasobject:
        raise InputRefused("holds Python objects, which could run code; save plain numbers")
    if dtype.kind not in kinds or dtype.subdtype is not None:
        raise InputRefused(f"holds {dtype} values, which do not belong here")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > len(data) - offset:
        raise InputRefused(f"claims shape {shape}, more than the file holds; it is cut off or damaged")
    count = math.prod(shape)
    values = np.frombuffer(data, dtype, count, offset)
    return StoredArray(values, shape, fortran_order, offset + count * dtype.itemsize)


def _header(data: bytes, start: int) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, dtype and offset of the values."""
    stream = BytesIO(data[start : start + _MAX_HEADER_BYTES + 12])
    try:
        with warnings.catch_warnings():  # a damaged header is parsed as Python, which may warn of its spelling
            warnings.simplefilter("ignore")
            read_header = _HEADERS[npy.read_magic(stream)]
            shape, fortran_order, dtype = read_header(stream, max_header_size=_MAX_HEADER_BYTES)
    except Exception as error:  # numpy's parser answers damage with errors of many kinds
        raise InputRefused("not a .npy file, or a damaged one") from error
    return tuple(int(side) for side in shape), fortran_order, dtype, start + stream.tell()


def array_sha256(array: NDArray[Any]) -> str:
    """sha256 of an array's type, shape and values."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
