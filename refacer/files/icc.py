"""ICC profiles: which colours they are for, and the curves and matrix of those that consist of these (ICC.1:2022)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

LEVELS = np.linspace(0, 1, 65536)
"""The values that 16 bits can hold, as fractions."""

Curves = NDArray[np.float64]
"""(3, 65536): the linear light of each of `LEVELS`, for red, green and blue; never falling."""

_FUNCTIONS = {0: "g", 1: "gab", 2: "gabc", 3: "gabcd", 4: "gabcdef"}
"""Parameters of each type of parametric curve (10.18), in their order."""


def is_profile(icc: object, space: bytes = b"RGB ") -> bool:
    """Whether `icc` is a profile of a colour space: the header's bytes 16 to 19, its signature at 36 (7.2)."""
    return isinstance(icc, bytes) and len(icc) > 128 and icc[16:20] == space and icc[36:40] == b"acsp"


def curves_and_matrix(icc: bytes) -> tuple[Curves, NDArray[np.float64]] | None:
    """The curves to linear light and the matrix from there to XYZ under D50; None for profiles made of tables.

    A grey profile has one curve, and no matrix but that of sRGB. Raises ValueError or struct.error where it is damaged.
    """
    tags = _tags(icc)
    if b"A2B0" in tags:
        return None
    if is_profile(icc, b"GRAY"):
        return np.stack([_curve(tags[b"kTRC"])] * 3), SRGB_TO_XYZ
    curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return curves, np.array(columns).T / 65536


def xyz_from_primaries(primaries: NDArray[np.float64], white: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ under D50: chromaticities (3, 2) of the primaries, (2,) of white (Bradford)."""
    xyz, (x, y) = np.column_stack([primaries, 1 - primaries.sum(1)]).T, white
    seen = np.array([x, y, 1 - x - y]) / y
    native = xyz * np.linalg.solve(xyz, seen)
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ seen)
    return np.linalg.inv(_BRADFORD) @ (gains[:, None] * _BRADFORD) @ native


def never_falling(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve that can be read backwards; raises ValueError where it holds no numbers."""
    if not np.isfinite(curve).all():
        raise ValueError("a curve holds no numbers")
    return np.maximum.accumulate(curve)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """The profile's tags by signature."""
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(min(count, 200))]
    return {name: icc[start : start + size] for name, start, size in entries}


def _curve(tag: bytes) -> NDArray[np.float64]:
    """A `curv` or `para` tag at all of LEVELS."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        table = np.frombuffer(tag, ">u2", count, 12) / 65535
        if count < 2:
            return never_falling(LEVELS ** (table[0] * 65535 / 256 if count else 1))
        return never_falling(np.interp(LEVELS, np.linspace(0, 1, count), table))
    if tag[:4] != b"para":
        raise ValueError("no curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind not in _FUNCTIONS:
        raise ValueError("a curve of an unknown type")
    names = _FUNCTIONS[kind]
    values = dict(zip(names, np.array(struct.unpack_from(f">{len(names)}i", tag, 12)) / 65536, strict=True))
    return never_falling(_parametric(kind, {**dict.fromkeys("bcdef", 0.0), "a": 1.0, **values}))


def _parametric(kind: int, p: dict[str, float]) -> NDArray[np.float64]:
    """The five functions of Table 68 as one: a power above where it begins, a line below."""
    above, slope, offset, begin = p["e"], p["c"], p["f"], p["d"]
    if kind in (1, 2):
        begin, slope, offset = -p["b"] / p["a"], 0.0, p["c"]
        above = offset
    power = np.maximum(p["a"] * LEVELS + p["b"], 0) ** p["g"] + above
    return np.where(begin <= LEVELS, power, slope * LEVELS + offset).clip(0, 1)


_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
BT709_PRIMARIES = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]])
D65 = np.array([0.3127, 0.3290])
SRGB_TO_XYZ = xyz_from_primaries(BT709_PRIMARIES, D65)
"""Linear sRGB to XYZ under D50."""
