"""From one picture to its aligned faces, each with a thumbnail and what is measured on it; on several cores at once."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from refacer.commands.shared import Common
from refacer.console import worded
from refacer.datasets.curation import Measured
from refacer.datasets.face_score import FaceScore
from refacer.datasets.folder import DatasetFolder
from refacer.datasets.gathering import Item
from refacer.datasets.measures import blur_of, perceptual_hash
from refacer.datasets.sheets import encode_thumbnail
from refacer.errors import NoFace, OutOfMemory, RefacerError
from refacer.files import Source, encode_png, read_source, write_atomic
from refacer.files.archives import Archives
from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.jobs.align import face_record
from refacer.jobs.passports import Records
from refacer.jobs.session import Session
from refacer.options import AlignOptions, FetchOptions
from refacer.stages.pipeline import Found, aligned, find_faces
from refacer.types import CropTransform, Passport

NAME_DIGITS = 16  # of the source's sha256: a face is named by what it was cut from, wherever that lies


@dataclass(frozen=True)
class Making:
    """How faces are made, the same for every picture. known: sha256 of the pictures that are done already."""

    folder: DatasetFolder
    common: Common
    options: AlignOptions
    size: int
    fetching: FetchOptions = field(default_factory=FetchOptions)
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Made:
    """What became of a picture: its sha256, its faces (None where they are known), or why there are none."""

    sha256: str | None
    faces: tuple[Measured, ...] | None = None
    error: Exception | None = None


class Maker:
    """Makes the faces of one picture after the other; networks are read with the first."""

    def __init__(self, making: Making) -> None:
        self.making, self.archives = making, Archives()

    @cached_property
    def session(self) -> Session:
        """The device and the detector."""
        return Session(self.making.common)

    @cached_property
    def score(self) -> FaceScore:
        """What tells how sure the detector is."""
        return FaceScore()

    def __call__(self, item: Item) -> Made:
        """The faces of a picture; an error of its own does not stop the others."""
        digest = None
        try:
            data = item.read(self.making.folder.downloads, self.making.fetching, self.archives)
            digest = hashlib.sha256(data).hexdigest()
            if digest in self.making.known:
                return Made(digest)
            source = read_source(data, max_pixels=self.making.common.max_pixels, name=item.name)
            return Made(digest, self._faces(source, digest))
        except Exception as error:
            problem = worded(error)
            if not isinstance(problem, RefacerError):
                raise
            return Made(digest, (), NoFace("no face found") if isinstance(problem, NoFace) else problem)

    def _faces(self, source: Source, digest: str) -> tuple[Measured, ...]:
        options, size = self.making.options, self.making.size
        image = self.session.tensor(source)
        found = find_faces(image, self.session.detector(options), options, "all")
        record = Records(self.session).align(options, size, faces="all", count=len(found))
        faces = []
        for face in found:
            rgb = rgb_from_tensor(aligned(image, face, size, options))
            name = f"{digest[:NAME_DIGITS]}.{face.index}.png"
            write_atomic(self.making.folder.thumbnail(name), encode_thumbnail(rgb))
            passport = Passport(source.info, (face_record(face, size, record),))
            write_atomic(self.making.folder.incoming / name, encode_png(rgb, passport))
            faces.append(self._measured(name, face, tensor_from_rgb(rgb)))
        return tuple(faces)

    def _measured(self, name: str, face: Found, image: Tensor) -> Measured:
        """What is known about a face; rounded, so that a file gives back the same."""
        return Measured(
            name=name,
            pixels=hashlib.sha256(rgb_from_tensor(image).tobytes()).hexdigest(),
            side_px=round(CropTransform(face.quad, self.making.size).side_px, 2),
            blur=round(blur_of(image), 4),
            score=round(self.score(image), 3),
            hash=perceptual_hash(image).tobytes().hex(),
            mirrored_hash=perceptual_hash(image.flip(3)).tobytes().hex(),
        )


def make_all(items: Sequence[Item], making: Making, jobs: int) -> Iterator[tuple[Item, Made | Exception]]:
    """The faces of all pictures, in the order in which they are done; a bug comes as the exception it is.

    jobs: processes that work at once; 1 works in this one. Raises OutOfMemory where a process dies.
    """
    if jobs == 1 or len(items) < 2:
        yield from _one_by_one(items, making)
        return
    context = multiprocessing.get_context("spawn")  # torch and dlib do not survive a fork
    pool = ProcessPoolExecutor(min(jobs, len(items)), context, _start, (making,))
    try:
        waiting = {pool.submit(_work, item): item for item in items}
        for future in as_completed(waiting):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise OutOfMemory("a process died, perhaps for want of memory; lower --jobs") from error
            yield waiting[future], error if isinstance(error, Exception) else future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def as_record(sha256: str, faces: Sequence[Measured], error: Exception | None) -> dict[str, Any]:
    """What the journal keeps of a picture; the only error that is worth remembering is that there is no face."""
    record: dict[str, Any] = {"sha256": sha256, "faces": [asdict(face) for face in faces]}
    return record | ({"no_face": str(error)} if isinstance(error, NoFace) else {})


def _one_by_one(items: Sequence[Item], making: Making) -> Iterator[tuple[Item, Made | Exception]]:
    maker = Maker(making)
    for item in items:
        try:
            made: Made | Exception = maker(item)
        except Exception as error:
            made = error
        yield item, made


_makers: list[Maker] = []
"""The maker of this process, where it is one of a pool."""


def _start(making: Making) -> None:
    """Prepare a process of the pool: one thread each, and Ctrl-C is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _makers[:] = [Maker(making)]


def _work(item: Item) -> Made:
    return _makers[0](item)
