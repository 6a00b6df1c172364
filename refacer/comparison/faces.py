"""The faces of a comparison, at the pair's size: what every method is given, and the truth where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refacer import console
from refacer.comparison.folder import INPUTS, TRUTH
from refacer.errors import OutputNotWritable
from refacer.evaluation.evaluate import PictureSet
from refacer.files import encode_png, read_bytes, read_source, write_atomic
from refacer.files.artefacts import Face, own_passport
from refacer.files.pictures import Source
from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.images.resampling import resized
from refacer.jobs.frame import Frame
from refacer.jobs.plan import Item
from refacer.jobs.turns import passport_of
from refacer.types import Rgb


@dataclass(frozen=True)
class ComparedFace:
    """A face as its file holds it; truth: (S, S, 3) uint8 or None."""

    name: str
    face: Face
    truth: Rgb | None


@dataclass(frozen=True)
class Place:
    """Where the pictures of a comparison go. force: overwrite what is not refacer's."""

    folder: Path
    force: bool

    def path(self, column: str, face: str) -> Path:
        """Where a picture lies."""
        return self.folder / f"{column}/{face}.png"

    def write(self, path: Path, data: bytes) -> None:
        """Write a picture where another is there; raises OutputNotWritable where that is not refacer's."""
        if path.exists() and not self.force and passport_of(path) is None:
            raise OutputNotWritable(f"{path}: is there and not refacer's; choose another -o, or give --force")
        write_atomic(path, data)

    def write_pixels(self, path: Path, pixels: Rgb) -> None:
        """The same for a picture that is its own source, where it is not there already."""
        data = encode_png(pixels, own_passport(Source(pixels).info))
        if not path.is_file() or read_bytes(path) != data:
            self.write(path, data)


def read_faces(
    items: Sequence[Item], truth: PictureSet | None, side_px: int, max_pixels: int, place: Place, frame: Frame
) -> list[ComparedFace]:
    """Every face that can be read, at `side_px`, written down with its truth; what fails is told to the frame."""
    faces: list[ComparedFace] = []
    for item in items:
        try:
            faces.append(_read(item, truth, side_px, max_pixels, place))
        except Exception as error:
            frame.failed(item.name, error)
    lacking = sum(face.truth is None for face in faces)
    if truth and lacking:
        console.warn(f"{truth.source}: {lacking} of {len(faces)} faces have no picture of their name there")
    return faces


def _read(item: Item, truth: PictureSet | None, side_px: int, max_pixels: int, place: Place) -> ComparedFace:
    name = item.key.as_posix()
    given = _sized(Face(read_source(item.read(), max_pixels=max_pixels), item.name), side_px)
    known: Rgb | None = None
    if truth and name in truth.keys:
        pixels = truth.picture(name).permute(1, 2, 0).numpy()
        known = _sized(Face(Source(pixels), f"{truth.source}: {name}"), side_px)
        place.write_pixels(place.path(TRUTH, name), known)
    place.write_pixels(place.path(INPUTS, name), given)
    return ComparedFace(name, Face(Source(given, passport=own_passport(Source(given).info)), name), known)


def _sized(face: Face, side_px: int) -> Rgb:
    """A face at another size, (S, S, 3) uint8."""
    if face.size == side_px:
        return face.pixels
    return rgb_from_tensor(resized(tensor_from_rgb(face.pixels), side_px))
