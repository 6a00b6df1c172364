"""Pictures that are looked at several times, read once as long as there is room for them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from refacer.files import Source
from refacer.jobs.plan import Item


class Kept:
    """Pictures between their looks. read: how one is read; room: bytes that they may take; threads may share it."""

    def __init__(self, read: Callable[[Item], Source], room: int) -> None:
        self._read, self._room, self._changing = read, room, Lock()
        self._sources: dict[Item, Source] = {}

    def source(self, item: Item) -> Source:
        """A picture; raises what reading it raises."""
        source = self._sources.get(item)
        if source is None:
            source = self._read(item)
            self._keep(item, source)
        return source

    def let_go(self, item: Item) -> None:
        """Forget a picture that has been looked at for the last time."""
        with self._changing:
            if (source := self._sources.pop(item, None)) is not None:
                self._room += _size(source)

    def _keep(self, item: Item, source: Source) -> None:
        with self._changing:
            if item not in self._sources and _size(source) <= self._room:
                self._room -= _size(source)
                self._sources[item] = source


def _size(source: Source) -> int:
    """Bytes of a picture with what the stages see of it."""
    return 2 * source.native.nbytes
