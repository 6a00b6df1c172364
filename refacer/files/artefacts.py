"""What travels between stages, as a user of the library holds it: faces, codes, masks and finished pictures.

Each knows its passport and writes the very file that the command line would.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refacer.errors import InputRefused, PassportMismatch, ShapeMismatch, UsageError
from refacer.files import png
from refacer.files.codes import StoredCodes, encode_codes, read_codes
from refacer.files.encoding import (
    SUFFIXES,
    carries_passport,
    encode_display,
    encode_labels,
    encode_mask,
    encode_png,
    format_of,
)
from refacer.files.passports import encode_passport, sidecar_of
from refacer.files.pictures import Source, read_mask, read_rendering, read_source
from refacer.files.samples import CONVERTED, Native, own_channels, pillow_image
from refacer.files.streams import open_seekable, shown, write_atomic
from refacer.files.urls import as_path, is_url
from refacer.options import MAX_PIXELS
from refacer.types import Codes, FaceRecord, Offsets, Passport, Points, Rgb, SourceInfo

Picture = str | Path | bytes | Image.Image | Native
"""A picture as users have it: a path, a file's bytes, a PIL image, or (H, W, 3 or 4) uint8 or uint16."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def read_picture(picture: Picture, *, max_pixels: int = MAX_PIXELS) -> Source:
    """Any form of a picture as a `Source`; raises InputRefused or UsageError where it is none."""
    if isinstance(picture, str | Path) or is_url(picture):
        return read_source(as_path(picture) if isinstance(picture, str) else picture, max_pixels=max_pixels)
    if isinstance(picture, bytes):
        return read_source(picture, max_pixels=max_pixels)
    if isinstance(picture, Image.Image):
        return _from_pillow(picture, max_pixels)
    if not isinstance(picture, np.ndarray):
        raise UsageError(f"{type(picture).__name__}: no picture; give a path, bytes, a PIL image or an array")
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype not in (np.uint8, np.uint16):
        told = f"{picture.dtype} {picture.shape}"
        raise UsageError(f"an array of {told}: no picture; give (H, W, 3 or 4) uint8 or uint16, RGB(A)")
    if picture.size == 0 or picture.shape[0] * picture.shape[1] > max_pixels:
        raise InputRefused(f"an array of {picture.shape}: has no pixels, or more than {max_pixels}")
    return Source(picture.copy())


def like_picture(picture: Picture | Source, display: Display) -> Any:
    """A finished picture in the form it came in: a PIL image for a PIL image, else (H, W, 3 or 4)."""
    if not isinstance(picture, Image.Image):
        return display.native
    image = pillow_image(own_channels(display.native, grey=display.source.grey))
    told = ("srgb", "gamma", "chromaticity", "icc_profile") if picture.mode not in CONVERTED else ()
    image.info.update({name: picture.info[name] for name in told if name in picture.info})
    return image


def _from_pillow(image: Image.Image, max_pixels: int) -> Source:
    """A PIL image by way of a PNG, so that profile, orientation and 16-bit grey are treated as in a file."""
    buffer = BytesIO()
    beside = {"exif": image.getexif(), "icc_profile": image.info.get("icc_profile")}
    if image.mode in CONVERTED:
        image.save(buffer, "TIFF", **beside)
        return read_source(buffer.getvalue(), max_pixels=max_pixels, name="the image")
    kept = image if image.mode in _PNG_MODES else image.convert("RGBA" if image.has_transparency_data else "RGB")
    kept.save(buffer, "PNG", compress_level=0, **beside)
    data = png.splice(buffer.getvalue(), _told_chunks(image.info))
    return read_source(data, max_pixels=max_pixels, name="the image")


def _told_chunks(info: Mapping[Any, Any]) -> Iterator[png.Chunk]:
    """What Pillow read of a PNG's space of colours, and does not write."""
    if "srgb" in info:
        yield b"sRGB", bytes([info["srgb"]])
    if "gamma" in info:
        yield b"gAMA", struct.pack(">I", round(info["gamma"] * 100_000))
    if "chromaticity" in info:
        yield b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in info["chromaticity"]))


@dataclass(frozen=True, eq=False)
class Face:
    """An aligned face: a square picture and where it came from.

    name: what messages call it. drawn: the rendering generator's picture of the same code, (S, S, 3) uint8, of a face
    that was just decoded; `rendering` finds it in a file's face, too.
    """

    source: Source
    name: str = "the face"
    drawn: Rgb | None = None

    def __post_init__(self) -> None:
        height, width = self.source.native.shape[:2]
        if height != width:
            raise ShapeMismatch(f"{self.name}: is {width}x{height}, a face is square; cut it out with `refacer align`")

    @staticmethod
    def of(pixels: Rgb, passport: Passport, drawn: Rgb | None = None) -> Face:
        """A face from (S, S, 3) uint8, its passport and the rendering generator's picture of its code."""
        return Face(Source(pixels, passport=passport), drawn=drawn)

    @staticmethod
    def read(picture: Picture | Face, *, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Face:
        """A face from any form of a picture. Raises as `read_picture` does, and ShapeMismatch for one not square."""
        if isinstance(picture, Face):
            return picture
        name = name or (str(picture) if isinstance(picture, str | Path) else "the face")
        return Face(read_picture(picture, max_pixels=max_pixels), name)

    @property
    def pixels(self) -> Rgb:
        """(S, S, 3) uint8, RGB."""
        return self.source.rgb

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.source.native.shape[0]

    @cached_property
    def rendering(self) -> Rgb | None:
        """The rendering generator's picture of the same code, (S, S, 3) uint8; None where it did not travel along.

        Raises InputRefused or ShapeMismatch where what travelled along is no such picture.
        """
        return read_rendering(self.source, self.name) if self.drawn is None else self.drawn

    @cached_property
    def passport(self) -> Passport:
        """The passport that travels with the face; without one it is its own source.

        Raises PassportMismatch where it is a passport of several faces: the picture is no single face.
        """
        passport = self.source.passport or own_passport(self.source.info)
        if len(passport.faces) != 1:
            count = len(passport.faces)
            raise PassportMismatch(f"{self.name}: is a picture of {count} faces; cut one out with `refacer align`")
        return passport

    @property
    def translated(self) -> bool:
        """Whether the face was made without inversion, so that its rendering is the face it was made from."""
        stages = self.passport.faces[0].stages
        return bool(stages) and stages[-1].stage == "translate"

    def encode(self) -> bytes:
        """The face as a PNG that carries the passport and the rendering."""
        return encode_png(self.pixels, self.passport, self.rendering)

    def save(self, path: str | Path) -> None:
        """Write the PNG, whole or not at all; raises OutputNotWritable."""
        write_atomic(Path(path), self.encode())


@dataclass(frozen=True, eq=False)
class Latents:
    """W+ codes: values (N, num_ws, w_dim) float32 and, where it travelled along, their passport.

    distance: how far G_rendering(w+) stayed from the face (Eq. 4), where the code was just found; trace: the steps.
    offsets: where the generator's weights change with the codes.
    """

    values: Codes
    passport: Passport | None = None
    distance: float | None = None
    trace: list[dict[str, Any]] = field(default_factory=list)
    offsets: Offsets | None = None

    @staticmethod
    def read(codes: str | Path | bytes | Codes | Latents) -> Latents:
        """Codes from a `.npy` file or an array; raises as `read_codes` does."""
        if isinstance(codes, Latents):
            return codes
        if isinstance(codes, np.ndarray):
            return Latents(*read_codes(encode_codes(codes, None)))
        source = as_path(codes) if isinstance(codes, str) else codes
        return Latents.of(StoredCodes(open_seekable(source), shown(source)))

    @staticmethod
    def of(stored: StoredCodes) -> Latents:
        """All codes of a file."""
        return Latents(stored.part(0, len(stored)), stored.passport, offsets=stored.offsets)

    @staticmethod
    def one_of(stored: StoredCodes, index: int) -> Latents:
        """One code of a file, with its own part of what travelled along; a passport of other faces tells nothing.

        Raises ShapeMismatch where the offsets are not those of so many codes.
        """
        known, offsets = stored.passport, stored.offsets
        if known is not None:
            known = replace(known, faces=(known.faces[index],)) if len(known.faces) == len(stored) else None
        if offsets is not None:
            require_offsets_of(len(stored), offsets)
            offsets = {name: value[index : index + 1] for name, value in offsets.items()}
        return Latents(stored.part(index, 1), known, offsets=offsets)

    def encode(self) -> bytes:
        """The codes as `.npy`, behind them the passport and the offsets."""
        return encode_codes(self.values, self.passport, self.offsets)

    def save(self, path: str | Path) -> None:
        """Write the `.npy` file, whole or not at all; raises OutputNotWritable."""
        write_atomic(Path(path), self.encode())


@dataclass(frozen=True, eq=False)
class Mask:
    """Which pixels of a face are pasted, (M, M) bool, or its classes, (M, M) uint8; passport: of the face parsed."""

    values: NDArray[np.bool_] | NDArray[np.uint8]
    passport: Passport | None = None

    @staticmethod
    def read(mask: str | Path | bytes | NDArray[np.bool_] | Mask, *, max_pixels: int = MAX_PIXELS) -> Mask:
        """A mask from a picture or a bool array; raises ShapeMismatch where it is not square."""
        if isinstance(mask, Mask):
            return mask
        if isinstance(mask, np.ndarray):
            read = Mask(mask.astype(bool))
        else:
            read = Mask(*read_mask(mask if isinstance(mask, bytes) else Path(mask), max_pixels=max_pixels))
        if read.values.ndim != 2 or read.values.shape[0] != read.values.shape[1]:
            name = "a mask" if isinstance(mask, np.ndarray) else shown(Path(mask) if isinstance(mask, str) else mask)
            told = "x".join(map(str, read.values.shape[::-1]))
            raise ShapeMismatch(f"--mask {name}: is {told}, a mask is square as its face")
        return read

    def encode(self) -> bytes:
        """A grey PNG of 0 and 255, or a palette PNG of the classes."""
        if self.values.dtype == np.bool_:
            return encode_mask(self.values.astype(bool), self.passport)
        return encode_labels(self.values.astype(np.uint8), self.passport)

    def save(self, path: str | Path) -> None:
        """Write the PNG, whole or not at all; raises OutputNotWritable."""
        write_atomic(Path(path), self.encode())


@dataclass(frozen=True, eq=False)
class Display:
    """A finished picture: the source, its new pixels in the source's depth and mode, and what was done to its faces."""

    source: Source
    native: Native
    passport: Passport

    def encode(self, format: str = "PNG") -> bytes:
        """The file's bytes as PNG, TIFF, WEBP or JPEG; the passport travels inside a PNG alone."""
        return encode_display(self.native, self.source, format, self.passport)

    def files(self, path: Path | None) -> tuple[bytes, Mapping[Path, bytes]]:
        """The picture in the format of its name (PNG for none), and its sidecar where that carries no passport."""
        format = (format_of(path) if path else None) or "PNG"
        if path is None or carries_passport(format):
            return self.encode(format), {}
        return self.encode(format), {sidecar_of(path): encode_passport(self.passport)}

    def save(self, path: str | Path) -> None:
        """Write the picture, with a sidecar for its passport where the format carries none."""
        path = Path(path)
        if format_of(path) is None:
            raise UsageError(f"{path}: the result is a file of type {' '.join(SUFFIXES)}")
        data, beside = self.files(path)
        for sidecar, text in beside.items():
            write_atomic(sidecar, text)
        write_atomic(path, data)


def require_offsets_of(count: int, offsets: Offsets) -> None:
    """Raise ShapeMismatch unless there are weight offsets for each of so many codes."""
    if any(value.shape[:1] != (count,) for value in offsets.values()):
        raise ShapeMismatch(f"the weight offsets are not those of {count} codes; project the faces again")


def own_passport(face: SourceInfo) -> Passport:
    """The passport of a face that carries none: it is its own source, and its quad is all of it."""
    return Passport(face, (FaceRecord(0, 1, (), whole_quad(face), face.width),))


def is_own(passport: Passport) -> bool:
    """Whether a passport says no more than `own_passport`: the face has no place in another picture."""
    return all(not face.landmarks and face.quad == whole_quad(passport.source) for face in passport.faces)


def whole_quad(picture: SourceInfo) -> Points:
    """The quad that covers a picture."""
    low, right, bottom = -0.5, picture.width - 0.5, picture.height - 0.5
    return ((low, low), (low, bottom), (right, bottom), (right, low))


def single_passports(passport: Passport) -> list[Passport]:
    """The faces of a passport, each in one of its own."""
    return [replace(passport, faces=(face,)) for face in passport.faces]
