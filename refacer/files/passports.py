"""Passports in files: a text chunk of a PNG, a second array of a `.npy`, or a sidecar beside a picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from refacer.errors import InputRefused, PassportMismatch
from refacer.files import npy, png
from refacer.files.streams import read_bytes, shown
from refacer.types import Passport

MAX_PASSPORT_BYTES = png.MAX_TEXT_BYTES


def encode_passport(passport: Passport) -> bytes:
    """A passport as the UTF-8 JSON of a sidecar."""
    return passport.to_json().encode() + b"\n"


def decode_passport(text: bytes) -> Passport:
    """A passport from UTF-8 JSON; raises InputRefused where it is not one."""
    if len(text) > MAX_PASSPORT_BYTES:
        raise InputRefused("the passport is too large")
    try:
        return Passport.from_json(text.decode())
    except UnicodeDecodeError as error:
        raise InputRefused("not a refacer passport") from error


def sidecar_of(path: Path) -> Path:
    """Where the passport of a picture in a format without text lies: look.jpg has look.jpg.refacer.json."""
    return path.with_name(path.name + ".refacer.json")


def read_passport(path: Path) -> Passport:
    """The passport of a face PNG, a `.npy`, a sidecar, or a picture with a sidecar.

    Raises PassportMismatch where there is none, InputRefused where the file is damaged, UsageError where it is missing.
    """
    try:
        passport = _carried(read_bytes(path))
    except InputRefused as error:
        raise InputRefused(_named(path, error)) from error
    passport = passport or read_sidecar(path)
    if passport is None:
        raise PassportMismatch(f"{shown(path)}: carries no passport; make it with `refacer align`")
    return passport


def read_sidecar(path: Path) -> Passport | None:
    """The passport beside a picture, if there is one."""
    sidecar = sidecar_of(path)
    try:
        if not sidecar.is_file():
            return None
    except OSError:  # a name so long that none can stand beside it
        return None
    try:
        return decode_passport(read_bytes(sidecar))
    except InputRefused as error:
        raise InputRefused(_named(sidecar, error)) from error


def png_passport(picture: png.Png) -> Passport | None:
    """The passport of a PNG that was taken apart."""
    text = picture.texts.get(png.PASSPORT_KEYWORD)
    return None if text is None else decode_passport(text)


def npy_passport(stream: BinaryIO, start: int) -> Passport | None:
    """The passport behind the codes, which end at `start`; raises InputRefused for anything else that lies there."""
    text = passport_array(stream, start)
    if text is None:
        return None
    if text.count > MAX_PASSPORT_BYTES:
        raise InputRefused("the passport is too large")
    return decode_passport(text.values().tobytes())


def passport_array(stream: BinaryIO, start: int) -> npy.StoredArray | None:
    """The array of bytes behind the codes; at most one more, of weight offsets, may follow it."""
    size = npy.size_of(stream)
    if start == size:
        return None
    text = npy.find_array(stream, start, "u")
    if text.dtype != np.uint8 or not (text.end == size or _is_one_array(stream, text.end)):
        raise InputRefused("what follows the codes is no passport")
    return text


def _is_one_array(stream: BinaryIO, start: int) -> bool:
    """Whether the rest is one array of bytes and nothing else."""
    try:
        return npy.find_array(stream, start, "u").end == npy.size_of(stream)
    except InputRefused:
        return False


def passport_chunks(passport: Passport | None) -> list[png.Chunk]:
    """The text chunk of a PNG that carries a passport."""
    return [] if passport is None else [png.text_chunk(png.PASSPORT_KEYWORD, passport.to_json().encode())]


def _carried(data: bytes) -> Passport | None:
    """The passport inside a file's bytes; None for a picture without."""
    if png.is_png(data):
        return png_passport(png.read_png(data))
    if data.startswith(npy.MAGIC):
        stream = BytesIO(data)
        return npy_passport(stream, npy.find_array(stream, 0, "f").end)
    return decode_passport(data) if data.lstrip()[:1] == b"{" else None


def _named(path: Path, error: InputRefused) -> str:
    """The error's message with the file in front, once."""
    name = shown(path)
    return str(error) if str(error).startswith(name) else f"{name}: {error}"
