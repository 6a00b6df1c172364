"""Reading what a stranger wrote: no more than is there, and shown in messages without harm."""

from __future__ import annotations

import os

from refacer.errors import InputRefused

MAX_LINE_BYTES = 1 << 26
SHOWN_CHARACTERS = 60


class Stream:
    """A file of bytes that are there already; what is claimed beyond their end is never allocated.

    most: more than this at once is refused to `read`, which copies.
    """

    def __init__(self, data: memoryview, most: int | None = None) -> None:
        self._data, self._at = data, 0
        self.most = len(data) if most is None else most

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def seekable(self) -> bool:
        """As zipfile asks."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere, but not beyond the ends."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence]
        self._at = min(max(base + offset, 0), len(self._data))
        return self._at

    def view(self, length: int) -> memoryview:
        """The next `length` bytes without copying them; InputRefused where fewer are left."""
        if not 0 <= length <= self.left:
            raise InputRefused("damaged: it ends too early")
        self._at += length
        return self._data[self._at - length : self._at]

    def read(self, length: int = -1) -> bytes:
        """At most `length` bytes; all that are left where it is negative."""
        length = min(length, self.left) if length >= 0 else self.left
        if length > self.most:
            raise InputRefused(f"damaged: {length} bytes where {self.most} are enough")
        return bytes(self.view(length))

    def readline(self) -> bytes:
        """Up to and with the next newline; without one, what is left."""
        size = 256
        while size < min(self.left, MAX_LINE_BYTES):
            end = bytes(self._data[self._at : self._at + size]).find(b"\n")
            if end >= 0:
                return self.read(end + 1)
            size *= 4
        line = bytes(self._data[self._at : self._at + min(size, MAX_LINE_BYTES)])
        return self.read(line.find(b"\n") + 1 or len(line))


def shown(text: object) -> str:
    """Text from a file, fit for a one-line message."""
    if not isinstance(text, str):
        return f"a {type(text).__name__}"
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[: SHOWN_CHARACTERS + 1])
    return plain if len(plain) <= SHOWN_CHARACTERS else plain[:SHOWN_CHARACTERS] + "…"
