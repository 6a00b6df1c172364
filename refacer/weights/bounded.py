"""Reading what a stranger wrote: no more than is there, and shown in messages without harm."""

from __future__ import annotations

from refacer.errors import InputRefused

MAX_LINE_BYTES = 1 << 26
SHOWN_CHARACTERS = 60


class Stream:
    """Bytes read from front to end; what is claimed beyond the end is never allocated."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def tell(self) -> int:
        """The position, as pickletools asks for it."""
        return self._at

    def view(self, length: int) -> memoryview:
        """The next `length` bytes without copying them; InputRefused where fewer are left."""
        if not 0 <= length <= self.left:
            raise InputRefused("damaged: it ends too early")
        self._at += length
        return self._data[self._at - length : self._at]

    def read(self, length: int) -> bytes:
        """At most `length` bytes."""
        return bytes(self.view(min(max(length, 0), self.left)))

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
