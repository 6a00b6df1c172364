"""The frames of a sequence, looked at several times, and several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from refacer.device import free_memory
from refacer.engine import Refacer
from refacer.errors import RefacerError
from refacer.files import Source
from refacer.jobs.ahead import in_order
from refacer.jobs.kept import Kept
from refacer.jobs.plan import Item
from refacer.stages.align import quad_from_landmarks
from refacer.stages.pipeline import Found, aligned
from refacer.types import Points

T = TypeVar("T")
R = TypeVar("R")

KEPT_FRAC = 0.25
"""Share of the free memory in which frames are kept between their looks."""


def face_at(studio: Refacer, source: Source, landmarks: Points) -> Tensor:
    """The face of a picture at these landmarks, (1, 3, S, S) as its file would hold it."""
    place, equipment = Found(0, 1, landmarks, quad_from_landmarks(landmarks)), studio.equipment
    return aligned(studio.seen(source), place, equipment.crop_px, equipment.options.align)


class Frames:
    """Frames in order with what looks at them. at_once: how many are looked at at once, each in a thread."""

    def __init__(self, studio: Refacer, items: Sequence[Item], *, at_once: int) -> None:
        self.studio, self.items, self._threads = studio, items, max(at_once, 1)
        self.kept = Kept(lambda item: studio.read(item.read()), int(KEPT_FRAC * free_memory()))

    def source(self, index: int) -> Source | None:
        """A frame; None for one that cannot be read, which is told when its turn comes."""
        try:
            return self.kept.source(self.items[index])
        except RefacerError:
            return None

    def face(self, source: Source, landmarks: Points) -> Tensor:
        """The face of a frame at these landmarks, (1, 3, S, S)."""
        return face_at(self.studio, source, landmarks)

    def each(self, work: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
        """Let all tasks be done, several at once."""
        self.studio.networks()  # read once, not by each thread
        threads = min(self._threads, len(tasks))
        return [result() for _, result in in_order(work, tasks, threads=threads, ahead=2 * threads)]
