"""W+ codes as `.npy`: float32 (N, num_ws, w_dim), and behind them the passport as an array of JSON bytes.

Where weights of the generator change with the codes, their offsets are a third array: the bytes of a safetensors file.
Read, too: `.npz` as the published projectors write it, and codes of W, one for all layers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from weakref import finalize

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from refacer.errors import InputRefused, ShapeMismatch
from refacer.files import npy
from refacer.files.archives import DAMAGE
from refacer.files.passports import npy_passport, passport_array
from refacer.files.streams import blocks_of, open_seekable, shown, spooled
from refacer.types import Codes, Offsets, Passport

ZIP_MAGIC = b"PK\x03\x04"
NPZ_NAMES = ("w.npy", "ws.npy", "w_plus.npy", "latents.npy")
"""What other programs call codes in a `.npz`."""

MAX_NPZ_BYTES = 1 << 30


def encode_codes(codes: Codes, passport: Passport | None, offsets: Offsets | None = None) -> bytes:
    """Codes (N, num_ws, w_dim), their passport and weight offsets; `np.load` of the file gives the codes alone."""
    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(codes, np.float32), allow_pickle=False)
    if passport is not None:
        np.save(buffer, np.frombuffer(passport.to_json().encode(), np.uint8), allow_pickle=False)
    if offsets is not None:
        np.save(buffer, np.frombuffer(save({**offsets}), np.uint8), allow_pickle=False)
    return buffer.getvalue()


class StoredCodes:
    """Codes of a `.npy` or `.npz`, all of them tested, each read when it is asked for: memory does not grow with them.

    float16 and float64 are converted; (num_ws, w_dim) gets a leading axis, (w_dim,) two: a code of W is (1, 1, w_dim).
    Of a `.npz` the array `w` is read, or its only one. Only what lies in Fortran's order is read whole.

    stream: can be sought in, and is closed when nobody holds the codes any more; name: for messages.
    Raises InputRefused for objects, other dtypes, a claimed size beyond the file's, values that are not finite or do
    not fit float32, and a broken passport; then ShapeMismatch for another number of axes.
    """

    passport: Passport | None

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        finalize(self, stream.close)
        with _named(name):
            if stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC:
                stream = _unzipped(stream)
                finalize(self, stream.close)
            self._stored = npy.find_array(stream, 0, "f")
            self._end = self._stored.end
            self.passport = npy_passport(stream, self._end)
            for values in self._stored.blocks():
                _finite(values)
            if len(self._stored.shape) not in (1, 2, 3) or 0 in self._stored.shape:
                raise ShapeMismatch(f"codes are (N, num_ws, w_dim), not {self._stored.shape}")
            self._shape = (1,) * (3 - len(self._stored.shape)) + self._stored.shape

    def __len__(self) -> int:
        return self._shape[0]

    def part(self, first: int, count: int) -> Codes:
        """(count, num_ws, w_dim) float32, in memory of their own."""
        with _named(self.name):
            if self._stored.fortran_order:
                return np.ascontiguousarray(self._turned[first : first + count])
            each = self._shape[1] * self._shape[2]
            return _finite(self._stored.values(first * each, count * each)).reshape(count, *self._shape[1:])

    @cached_property
    def offsets(self) -> Offsets | None:
        """The weight offsets that travelled along, float16 by the name of their weight; None without any.

        Raises InputRefused where they are damaged or not finite.
        """
        stream = self._stored.stream
        text = passport_array(stream, self._end)
        if text is None or text.end == npy.size_of(stream):
            return None
        try:
            offsets = load(npy.find_array(stream, text.end, "u").values().tobytes())
        except (SafetensorError, KeyError, ValueError) as error:
            told = f"{self.name}: its weight offsets are damaged; project the face again"
            raise InputRefused(told) from error
        if any(value.dtype != np.float16 or not np.isfinite(value).all() for value in offsets.values()):
            raise InputRefused(f"{self.name}: its weight offsets are no finite numbers; project the face again")
        return offsets

    @cached_property
    def _turned(self) -> Codes:
        """All codes of a file in Fortran's order."""
        return _finite(self._stored.values()).reshape(self._stored.shape, order="F").reshape(self._shape)


def read_codes(data: Path | bytes) -> tuple[Codes, Passport | None]:
    """Codes (N, num_ws, w_dim) and their passport, if it travelled along; raises as `StoredCodes` does."""
    stored = StoredCodes(open_seekable(data), shown(data))
    return stored.part(0, len(stored)), stored.passport


def read_offsets(data: Path | bytes) -> Offsets | None:
    """The weight offsets that travelled with codes; raises as `StoredCodes` does."""
    return StoredCodes(open_seekable(data), shown(data)).offsets


def _finite(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as float32; raises InputRefused where one is not finite."""
    with np.errstate(all="ignore"):  # what overflows is refused in the next line
        converted = values.astype(np.float32)
    if not np.isfinite(converted).all():
        raise InputRefused("holds values that are not finite; project the face again")
    return converted


def _unzipped(stream: BinaryIO) -> BinaryIO:
    """The array of a `.npz` that holds codes, as `.npy`; raises InputRefused where nobody can tell which it is."""
    return spooled(_member(stream), MAX_NPZ_BYTES, "a .npz with more than 1 GiB of codes; save them with np.save")


def _member(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of that array."""
    try:
        with zipfile.ZipFile(stream) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            chosen = next((name for name in NPZ_NAMES if name in names), names[0] if len(names) == 1 else None)
            if chosen is None:
                held = ", ".join(name.removesuffix(".npy") for name in names[:8]) or "no array"
                raise InputRefused(f"a .npz with {held}, none of them called w; save the codes alone with np.save")
            with archive.open(chosen) as member:
                yield from blocks_of(member)
    except (*DAMAGE, OSError, ValueError) as error:
        raise InputRefused("a damaged .npz; save it again") from error


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file's name in front of what is wrong with it, once."""
    try:
        yield
    except (InputRefused, ShapeMismatch) as error:
        raise type(error)(f"{name}: {error}") from error
