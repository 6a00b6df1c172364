"""Items worked on in threads, ahead of their turn, and handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Condition
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    work: Callable[[T], R], items: Sequence[T], *, threads: int, ahead: int
) -> Generator[tuple[T, Callable[[], R]]]:
    """Each item in order, with a function that waits for what `work` makes of it, or raises what it raised.

    threads: 0 works in this one, when an item's turn has come. At most `ahead` items are begun and not yet handed out,
    so that memory stays flat. Whatever ends the loop, what is not begun is dropped and what is begun is waited for.
    """
    if not threads:
        yield from ((item, partial(work, item)) for item in items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="refacer")
    begun: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            begun.append((item, pool.submit(work, item)))
            if len(begun) >= ahead:
                yield _next(begun)
        while begun:
            yield _next(begun)
    finally:
        pool.shutdown(cancel_futures=True)


def _next(begun: deque[tuple[T, Future[R]]]) -> tuple[T, Callable[[], R]]:
    item, future = begun.popleft()
    return item, future.result


class Room:
    """Memory in bytes that what works side by side shares; what is larger than all of it has it alone."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._changed = Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Wait for so much, and give it back."""
        amount = min(amount, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
