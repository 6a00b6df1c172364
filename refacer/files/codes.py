"""W+ codes as `.npy`: float32 (N, num_ws, w_dim), and behind them the passport as an array of JSON bytes.

Where weights of the generator change with the codes, their offsets are a third array: the bytes of a safetensors file.
Read, too: `.npz` as the published projectors write it, and codes of W, one for all layers.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from refacer.errors import InputRefused, ShapeMismatch
from refacer.files import npy
from refacer.files.archives import DAMAGE
from refacer.files.passports import npy_passport, passport_array
from refacer.files.streams import read_bytes, shown
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


def read_codes(data: Path | bytes) -> tuple[Codes, Passport | None]:
    """Codes (N, num_ws, w_dim) and their passport, if it travelled along.

    float16 and float64 are converted; (num_ws, w_dim) gets a leading axis, (w_dim,) two: a code of W is (1, 1, w_dim).
    Of a `.npz` the array `w` is read, or its only one. Raises InputRefused for objects, other dtypes, a claimed size
    beyond the file's, values that are not finite or do not fit float32, and a broken passport; then ShapeMismatch for
    another number of axes.
    """
    raw, name = read_bytes(data), shown(data)
    try:
        raw = _unzipped(raw) if raw.startswith(ZIP_MAGIC) else raw
        stored = npy.read_array(raw, 0, "f")
        passport = npy_passport(raw, stored.end)
        return _checked(stored), passport
    except (InputRefused, ShapeMismatch) as error:
        raise type(error)(f"{name}: {error}") from error


def read_offsets(data: Path | bytes) -> Offsets | None:
    """The weight offsets that travelled with codes, float16 by the name of their weight; None without any.

    Raises InputRefused where they are damaged or not finite.
    """
    raw, name = read_bytes(data), shown(data)
    if not raw.startswith(npy.MAGIC):
        return None
    text = passport_array(raw, npy.read_array(raw, 0, "f").end)
    if text is None or text.end == len(raw):
        return None
    try:
        offsets = load(npy.read_array(raw, text.end, "u").values.tobytes())
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputRefused(f"{name}: its weight offsets are damaged; project the face again") from error
    if any(value.dtype != np.float16 or not np.isfinite(value).all() for value in offsets.values()):
        raise InputRefused(f"{name}: its weight offsets are no finite numbers; project the face again")
    return offsets


def _checked(stored: npy.StoredArray) -> Codes:
    """Finite float32 codes with three axes, in memory of their own."""
    with np.errstate(all="ignore"):  # what overflows is refused in the next line
        codes = stored.values.astype(np.float32)
    if not np.isfinite(codes).all():
        raise InputRefused("holds values that are not finite; project the face again")
    if len(stored.shape) not in (1, 2, 3) or 0 in stored.shape:
        raise ShapeMismatch(f"codes are (N, num_ws, w_dim), not {stored.shape}")
    shaped = np.ascontiguousarray(codes.reshape(stored.shape, order="F" if stored.fortran_order else "C"))
    return shaped.reshape((1,) * (3 - shaped.ndim) + shaped.shape)


def _unzipped(data: bytes) -> bytes:
    """The array of a `.npz` that holds codes, as `.npy`; raises InputRefused where nobody can tell which it is."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            chosen = next((name for name in NPZ_NAMES if name in names), names[0] if len(names) == 1 else None)
            if chosen is None:
                held = ", ".join(name.removesuffix(".npy") for name in names[:8]) or "no array"
                raise InputRefused(f"a .npz with {held}, none of them called w; save the codes alone with np.save")
            with archive.open(chosen) as member:
                raw = member.read(MAX_NPZ_BYTES + 1)
    except (*DAMAGE, OSError, ValueError) as error:
        raise InputRefused("a damaged .npz; save it again") from error
    if len(raw) > MAX_NPZ_BYTES:
        raise InputRefused("a .npz with more than 1 GiB of codes; save them with np.save")
    return raw
