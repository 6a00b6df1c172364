"""From one picture to its aligned faces, each with a thumbnail and what is measured on it; on several cores at once."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch

from refacer.datasets.curation import Measured
from refacer.datasets.downloads import Item
from refacer.datasets.folder import DatasetFolder
from refacer.datasets.measures import FaceScore, blur_of, perceptual_hash
from refacer.datasets.sheets import encode_thumbnail
from refacer.device import is_out_of_memory
from refacer.engine import Refacer
from refacer.errors import NoFace, OutOfMemory, RefacerError
from refacer.files import Source, read_source, write_atomic
from refacer.files.archives import Archives
from refacer.files.artefacts import Face
from refacer.files.folder_lock import LOCK
from refacer.images.pixels import tensor_from_rgb
from refacer.jobs.crew import crew
from refacer.jobs.worker import Recipe as Shared
from refacer.options import Choices
from refacer.types import CropTransform

NAME_DIGITS = 16  # of the source's sha256: a face is named by what it was cut from, wherever that lies


@dataclass(frozen=True)
class Recipe:
    """How faces are made, the same for every picture. known: sha256 of the pictures that are done already."""

    folder: DatasetFolder
    choices: Choices
    device: str
    known: frozenset[str] = frozenset()

    def studio(self) -> Refacer:
        """What finds and cuts the faces; each process has its own."""
        return Refacer(device=self.device, **vars(self.choices))

    def settings(self) -> dict[str, Any]:
        """What decides how a face looks. Raises WeightsMissing where what finds faces is not installed."""
        equipment = self.studio().equipment
        equipment.require(detector=True)
        return {"align": asdict(equipment.align_options), "models": equipment.detector_models()}


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: its sha256, its faces (None where they are known), or why there are none."""

    sha256: str | None
    faces: tuple[Measured, ...] | None = None
    error: Exception | None = None


class FaceMaker:
    """Makes the faces of one picture after the other; networks are read with the first."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.archives = recipe, Archives()

    @cached_property
    def studio(self) -> Refacer:
        """What finds and cuts the faces."""
        return self.recipe.studio()

    @cached_property
    def score(self) -> FaceScore:
        """What tells how sure dlib's detector is."""
        return FaceScore()

    def __call__(self, item: Item) -> Outcome:
        """The faces of a picture; an error of its own does not stop the others."""
        recipe, digest = self.recipe, None
        try:
            data = item.read(recipe.folder.downloads, self.archives)
            digest = hashlib.sha256(data).hexdigest()
            if digest in recipe.known:
                return Outcome(digest)
            source = read_source(data, max_pixels=recipe.choices.max_pixels, name=item.name)
            return Outcome(digest, self._faces(source, digest))
        except NoFace:
            return Outcome(digest, (), NoFace("no face found"))
        except RefacerError as error:
            return Outcome(digest, (), error)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            problem = OutOfMemory("memory did not suffice; lower --jobs or --size, or give a smaller picture")
            return Outcome(digest, (), problem)

    def _faces(self, source: Source, digest: str) -> tuple[Measured, ...]:
        """Cut out, store and measure all faces of a picture; raises NoFace."""
        folder, measured = self.recipe.folder, []
        for face in self.studio.align(source, faces="all"):
            name = f"{digest[:NAME_DIGITS]}.{face.passport.faces[0].index}.png"
            write_atomic(folder.thumbnail(name), encode_thumbnail(face.pixels))
            face.save(folder.incoming / name)
            measured.append(self._measured(name, face))
        return tuple(measured)

    def _measured(self, name: str, face: Face) -> Measured:
        """What is known about a face; rounded, so that a file gives back the same."""
        image = tensor_from_rgb(face.pixels)
        return Measured(
            name=name,
            pixels=hashlib.sha256(face.pixels.tobytes()).hexdigest(),
            side_px=round(CropTransform(face.passport.faces[0].quad, face.size).side_px, 2),
            blur=round(blur_of(image), 4),
            score=round(self.score(image), 3),
            hash=perceptual_hash(image).tobytes().hex(),
            mirrored_hash=perceptual_hash(image.flip(3)).tobytes().hex(),
        )


def make_all(items: Sequence[Item], recipe: Recipe, jobs: int) -> Iterator[tuple[Item, Outcome | Exception]]:
    """The faces of all pictures, in the order in which they are done; a bug comes as the exception it is.

    jobs: processes that work at once; 1 works in this one. Raises OutOfMemory where a process dies.
    """
    if jobs == 1 or len(items) < 2:
        yield from _one_by_one(items, recipe)
        return
    context = multiprocessing.get_context("spawn")  # torch and dlib do not survive a fork
    pool = ProcessPoolExecutor(min(jobs, len(items)), context, _start, (recipe,))
    try:
        waiting = {pool.submit(_work, item): item for item in items}
        for future in as_completed(waiting):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                raise OutOfMemory("a process died, perhaps for want of memory; lower --jobs") from error
            yield waiting[future], error if isinstance(error, Exception) else future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def make_on_cluster(
    items: Sequence[Item], recipe: Recipe, cluster: str, tell: Callable[[str], None]
) -> Iterator[tuple[Item, Outcome | Exception]]:
    """The same by the workers of a cluster, in order; they write to the shared folder of the set. tell: says a line.

    Raises what `crew` raises.
    """
    share = Shared(_MakerOf(recipe), recipe.settings(), str(recipe.folder.path / LOCK), recipe.device)
    with crew(cluster, share, len(items), tell) as workers:
        for item, outcome in workers.in_order(workers.do, items):
            with workers.halting():
                yield item, _or_error(outcome)


@dataclass(frozen=True)
class _MakerOf:
    """How a worker of a cluster begins."""

    recipe: Recipe

    def __call__(self, device: str) -> tuple[dict[str, Any], FaceMaker]:
        torch.set_num_threads(1)
        recipe = replace(self.recipe, device=device)
        return recipe.settings(), FaceMaker(recipe)


def _or_error(outcome: Callable[[], Outcome]) -> Outcome | Exception:
    """What a worker made of a picture, a bug as it is; raises what ends all work."""
    try:
        return outcome()
    except OutOfMemory as error:
        return error
    except RefacerError:
        raise
    except Exception as error:
        return error


def as_record(sha256: str, faces: Sequence[Measured], error: Exception | None) -> dict[str, Any]:
    """What the journal keeps of a picture; the only error that is worth remembering is that there is no face."""
    record: dict[str, Any] = {"sha256": sha256, "faces": [asdict(face) for face in faces]}
    return record | ({"no_face": str(error)} if isinstance(error, NoFace) else {})


def _one_by_one(items: Sequence[Item], recipe: Recipe) -> Iterator[tuple[Item, Outcome | Exception]]:
    maker = FaceMaker(recipe)
    for item in items:
        try:
            made: Outcome | Exception = maker(item)
        except Exception as error:
            made = error
        yield item, made


_makers: list[FaceMaker] = []
"""The maker of this process, where it is one of a pool."""


def _start(recipe: Recipe) -> None:
    """Prepare a process of the pool: one thread each, and Ctrl-C is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _makers[:] = [FaceMaker(recipe)]


def _work(item: Item) -> Outcome:
    return _makers[0](item)
