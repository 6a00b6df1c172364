"""Which of a TIFF's pages is the picture, and what its further samples are (TIFF 6.0, Adobe's supplement 1, BigTIFF).

Pillow and cv2 take the first page and leave out samples that it does not name: both are mended in the file's bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

KIND, WIDTH, HEIGHT, PHOTOMETRIC, SAMPLES, INNER_PAGES, EXTRA_SAMPLES = 254, 256, 257, 262, 277, 330, 338
GREY, RGB, SENSOR, LINEAR_SENSOR = 1, 2, 32803, 34892
UNSPECIFIED, MULTIPLIED, ALPHA = 0, 1, 2
REDUCED, MASK = 1, 4  # bits of KIND
COLORS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
"""Samples a pixel of each photometric kind, without further ones."""

MAX_PAGES = 1000
_NUMBERS = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 13: ("I", 4), 16: ("Q", 8), 18: ("Q", 8)}
_MAX_VALUES = 64


@dataclass(frozen=True)
class Layout:
    """How numbers lie in a file: byte order, whether it is a BigTIFF."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        """The format of an offset."""
        return self.order + ("Q" if self.big else "I")

    @property
    def head(self) -> int:
        """Where the offset of the first page stands."""
        return 8 if self.big else 4


@dataclass(frozen=True)
class Page:
    """A page: where its directory lies, and the numbers in it by tag; places: where the values of a tag lie."""

    start: int
    numbers: Mapping[int, tuple[int, ...]]
    places: Mapping[int, int] = field(default_factory=dict)

    def number(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        return (self.numbers.get(tag) or (default,))[0]

    @property
    def area(self) -> int:
        """Pixels."""
        return self.number(WIDTH) * self.number(HEIGHT)

    @property
    def is_picture(self) -> bool:
        """Whether it says of itself that it is neither reduced nor a mask, and holds no sensor's raw values."""
        return not self.number(KIND) & (REDUCED | MASK) and self.number(PHOTOMETRIC) not in (SENSOR, LINEAR_SENSOR)

    def shows_larger(self, other: Page) -> bool:
        """Whether this may be the same picture as another page, at least twice as wide and as high."""
        width, height = self.number(WIDTH), self.number(HEIGHT)
        ratio = width / max(1, other.number(WIDTH))
        return ratio >= 2 and abs(height - ratio * other.number(HEIGHT)) <= ratio


@dataclass(frozen=True)
class Tiff:
    """A TIFF whose first page is the picture; further: other pictures in it; spare: samples of it that are not read.

    unnamed: whether its last sample was of no stated meaning, and is read as alpha.
    """

    data: bytes
    further: int = 0
    spare: int = 0
    unnamed: bool = False


def read_tiff(data: bytes) -> Tiff:
    """Find the picture in a TIFF; one whose directories are damaged is left to the decoders as it is."""
    layout = Layout("<" if data[:1] == b"I" else ">", data[2:4] in (b"+\0", b"\0+"))
    try:
        pages = list(_pages(data, layout))
    except (struct.error, OverflowError):
        pages = []
    if not pages:
        return Tiff(data)
    pictures = [page for page in pages if page.is_picture] or sorted(pages, key=lambda page: -page.area)[:1]
    chosen = pictures[0]
    chosen = max((page for page in pictures if page.shows_larger(chosen)), key=lambda page: page.area, default=chosen)
    further = [page for page in pictures if page is not chosen and not chosen.shows_larger(page)]
    unnamed = chosen.numbers.get(EXTRA_SAMPLES) == (UNSPECIFIED,) and chosen.number(PHOTOMETRIC) in (GREY, RGB)
    if chosen is not pages[0] or unnamed:
        changed = bytearray(data)
        struct.pack_into(layout.offset, changed, layout.head, chosen.start)
        if unnamed:
            struct.pack_into(layout.order + "H", changed, chosen.places[EXTRA_SAMPLES], ALPHA)
        data = bytes(changed)
    return Tiff(data, len(further), _spare(chosen), unnamed)


def _spare(page: Page) -> int:
    """How many samples of a page are neither colours nor its alpha."""
    colors = COLORS.get(page.number(PHOTOMETRIC))
    if colors is None:
        return 0
    extra = max(0, page.number(SAMPLES, 1) - colors)
    named = page.numbers.get(EXTRA_SAMPLES, (ALPHA,))
    read = colors in (1, 3) and (named[0] in (MULTIPLIED, ALPHA) or len(named) == 1)
    return max(0, extra - read)


def _pages(data: bytes, layout: Layout) -> Iterator[Page]:
    """The pages in their order, each followed by those that lie inside it; each once."""
    waiting, known = [struct.unpack_from(layout.offset, data, layout.head)[0]], set()
    while waiting and len(known) < MAX_PAGES:
        start = waiting.pop(0)
        if start in known or not 0 < start < len(data):
            continue
        known.add(start)
        page, following = _page(data, start, layout)
        waiting = [*page.numbers.get(INNER_PAGES, ()), following, *waiting]
        yield page


def _page(data: bytes, start: int, layout: Layout) -> tuple[Page, int]:
    """The page whose directory begins at `start`, and the offset of the next one."""
    count_format, entry_size = ("Q", 20) if layout.big else ("H", 12)
    (count,) = struct.unpack_from(layout.order + count_format, data, start)
    first = start + struct.calcsize(count_format)
    numbers, places = {}, {}
    for at in range(first, min(first + count * entry_size, len(data)), entry_size):
        tag, kind, amount = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), data, at)
        if kind not in _NUMBERS or amount > _MAX_VALUES:
            continue
        letter, size = _NUMBERS[kind]
        place, room = (at + 12, 8) if layout.big else (at + 8, 4)
        if amount * size > room:
            (place,) = struct.unpack_from(layout.offset, data, place)
        numbers[tag], places[tag] = struct.unpack_from(f"{layout.order}{amount}{letter}", data, place), place
    (following,) = struct.unpack_from(layout.offset, data, first + count * entry_size)
    return Page(start, numbers, places), following
