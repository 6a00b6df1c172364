"""W+ codes as `.npy`: float32 (N, num_ws, w_dim), and behind them the passport as an array of JSON bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from refacer.errors import InputRefused, ShapeMismatch
from refacer.files import npy
from refacer.files.passports import npy_passport
from refacer.files.streams import read_bytes, shown
from refacer.types import Codes, Passport


def encode_codes(codes: Codes, passport: Passport | None) -> bytes:
    """Codes (N, num_ws, w_dim) and their passport; `np.load` of the file gives the codes alone."""
    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(codes, np.float32), allow_pickle=False)
    if passport is not None:
        np.save(buffer, np.frombuffer(passport.to_json().encode(), np.uint8), allow_pickle=False)
    return buffer.getvalue()


def read_codes(data: Path | bytes) -> tuple[Codes, Passport | None]:
    """Codes (N, num_ws, w_dim) and their passport, if it travelled along.

    float16 and float64 are converted; (num_ws, w_dim) gets a leading axis. Raises InputRefused for objects, other
    dtypes, a claimed size beyond the file's, values that are not finite or do not fit float32, and a broken passport;
    then ShapeMismatch for another number of axes.
    """
    raw, name = read_bytes(data), shown(data)
    try:
        stored = npy.read_array(raw, 0, "f")
        passport = npy_passport(raw, stored.end)
        return _checked(stored), passport
    except (InputRefused, ShapeMismatch) as error:
        raise type(error)(f"{name}: {error}") from error


def _checked(stored: npy.StoredArray) -> Codes:
    """Finite float32 codes with three axes, in memory of their own."""
    with np.errstate(all="ignore"):  # what overflows is refused in the next line
        codes = stored.values.astype(np.float32)
    if not np.isfinite(codes).all():
        raise InputRefused("holds values that are not finite; project the face again")
    if len(stored.shape) not in (2, 3) or 0 in stored.shape:
        raise ShapeMismatch(f"codes are (N, num_ws, w_dim), not {stored.shape}")
    shaped = np.ascontiguousarray(codes.reshape(stored.shape, order="F" if stored.fortran_order else "C"))
    return shaped if shaped.ndim == 3 else shaped[None]
