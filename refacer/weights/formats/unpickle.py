"""A pickle machine that builds inert data and nothing else.

Python's own unpickler imports what a stream names, calls it, and allocates what the stream claims. This one knows the
opcodes that data needs, makes only what a table of names maps to (refacer/weights/formats/inert.py), and counts what it
does (`Budget`): a file takes time and memory in proportion to its length. `pickletools` decodes the opcodes' arguments.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refacer.errors import InputRefused
from refacer.weights.formats.bounded import Stream, shown

Maker = Callable[..., Any]
Names = Mapping[str, Maker | None]
"""'module name' -> what to make of its arguments; None marks a name that is only mentioned."""

MAX_OPCODES = 500_000  # of a file; a snapshot at 1024 pixels takes about 50,000, its nested storages as many
MAX_ITEMS = 500_000  # in lists, tuples and dicts that stand-ins are given
MAX_GIVEN = 2  # text and bytes that stand-ins are given, in lengths of the file; each is needed once
SPARE_BYTES = 1 << 20
MAX_INT_BITS = 128
MAX_KEY_CHARACTERS = 255  # names of modules are joined, so that long ones multiply
MAX_OTHER_KEYS = 2000  # keys that are no text: numbers can be chosen so that their hashes collide

TENSORFLOW = ("dnnlib.tflib", "tfutil")
INSTEAD = "a TensorFlow StyleGAN pickle; get NVIDIA's PyTorch file instead: stylegan2-ada-pytorch/pretrained/ffhq.pkl"


class Budget:
    """What the pickles of one file may still do. Raises InputRefused where that is not enough."""

    def __init__(self, file_bytes: int) -> None:
        self._opcodes, self._items = MAX_OPCODES, MAX_ITEMS
        self._bytes = MAX_GIVEN * file_bytes + SPARE_BYTES

    def step(self) -> None:
        """One opcode."""
        self._opcodes -= 1
        if self._opcodes < 0:
            raise InputRefused(f"too large: more than {MAX_OPCODES} pickle opcodes")

    def give(self, values: Iterable[Any]) -> None:
        """Values that a stand-in looks through: a stream can name one of them again and again in two bytes."""
        for value in values:
            if type(value) in (str, bytes):
                self._bytes -= len(value)
            elif type(value) in (tuple, list, dict, set, frozenset):
                self._items -= len(value)
        if min(self._bytes, self._items) < 0:
            raise InputRefused("reads the same data over and over, as no weights do")


@dataclass(frozen=True)
class Global:
    """A name that a stream mentioned, and what stands in for it."""

    name: str
    make: Maker | None

    def __call__(self, arguments: Any) -> Any:
        """Make the stand-in; InputRefused where nothing may be made."""
        if self.make is None or type(arguments) is not tuple:
            raise InputRefused(f"calls {shown(self.name)}, which is only a name here")
        return self.make(*arguments)


def unpickle(stream: Stream, names: Names, budget: Budget, persistent: Maker | None = None) -> Any:
    """Build the next pickle of a stream.

    Args:
        names: everything it may mention.
        budget: of the file that it is a part of.
        persistent: makes of a persistent id what it stands for; None refuses such ids.

    Raises:
        InputRefused: it mentions another name, needs a forbidden opcode or is too large; also ValueError, TypeError,
            LookupError or AssertionError where it is damaged (`containers.refusing` words these).
    """
    return _Machine(names, budget, persistent).run(stream)


def short(key: str) -> str:
    """A key that is a name; raises InputRefused where it is none."""
    if len(key) > MAX_KEY_CHARACTERS:
        raise InputRefused(f"uses a text of {len(key)} characters as a key")
    return key


class _Machine:
    """Stack, marks and memo of one pickle."""

    def __init__(self, names: Names, budget: Budget, persistent: Maker | None) -> None:
        self.names, self.budget, self.persistent = names, budget, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.other_keys = 0

    def run(self, stream: Stream) -> Any:
        """Follow the opcodes up to STOP."""
        opcodes: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(stream)  # type: ignore
        for opcode, argument, _ in opcodes:
            self.budget.step()
            if opcode.name in WITH_ARGUMENT:
                WITH_ARGUMENT[opcode.name](self, argument)
            elif opcode.name in PLAIN:
                PLAIN[opcode.name](self)
            else:
                raise InputRefused(f"uses the pickle opcode {opcode.name}, which no weights need")
        return self.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise InputRefused("damaged: its stack runs empty")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Everything above the last mark."""
        height = self.marks.pop()
        items = self.stack[height:]
        del self.stack[height:]
        return items

    def top(self, kind: type) -> Any:
        """The top of the stack, which must be of exactly this type."""
        value = self.pop()
        self.push(value)
        if type(value) is not kind:
            raise InputRefused(f"damaged: fills a {type(value).__name__} like a {kind.__name__}")
        return value

    def remember(self, index: int) -> None:
        value = self.pop()
        self.push(value)
        self.memo[index] = value

    def key(self, value: Any) -> Any:
        """A key of a dict or set: nothing whose hash walks through other values."""
        if type(value) is str:
            return short(value)
        self.other_keys += 1
        if type(value) not in (int, float, bool, bytes, type(None)) or self.other_keys > MAX_OTHER_KEYS:
            raise InputRefused(
                f"uses {shown(value)} as a key" if self.other_keys <= MAX_OTHER_KEYS else "too many keys"
            )
        return value

    def name(self, text: str) -> None:
        """Push what stands in for a name; InputRefused where it is not in the table."""
        if text not in self.names:
            if text.startswith(TENSORFLOW):
                raise InputRefused(INSTEAD)
            raise InputRefused(f"mentions {shown(text)}, which no weights need; nothing of it was run")
        self.push(Global(text, self.names[text]))

    def stack_name(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise InputRefused("damaged: a name that is no text")
        self.name(f"{module} {name}")

    def call(self, arguments: Any) -> None:
        target = self.pop()
        if type(target) is not Global:
            raise InputRefused(f"calls {shown(target)}")
        self.budget.give(arguments if type(arguments) is tuple else ())
        self.push(target(arguments))

    def call_with_keywords(self) -> None:
        keywords, arguments = self.pop(), self.pop()
        if type(keywords) is not dict or keywords:
            raise InputRefused("calls a name with keywords")
        self.call(arguments)

    def build(self) -> None:
        """Give an object its state: a stand-in with `build` takes it, a dict drops it."""
        state, target = self.pop(), self.pop()
        if hasattr(type(target), "build"):
            self.budget.give(state if type(state) is tuple else ())
            target.build(state)
        elif type(target) is not dict:
            raise InputRefused(f"sets the state of {shown(target)}")
        self.push(target)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def to_dict(self, items: list[Any]) -> None:
        self.push({})
        self.set_items(items)

    def integer(self, value: int) -> None:
        if value.bit_length() > MAX_INT_BITS:
            raise InputRefused(f"holds a number of {value.bit_length()} bits")
        self.push(value)

    def persistent_id(self, value: Any) -> None:
        if self.persistent is None or type(value) is not tuple:
            raise InputRefused("refers to data outside of itself")
        self.budget.give(value)
        self.push(self.persistent(*value))


WITH_ARGUMENT: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _Machine.integer),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"), _Machine.push),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine.push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), lambda m, a: m.push(bytes(a))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, a: m.push(m.memo[a])),
    "GLOBAL": _Machine.name,
}  # fmt: skip
"""What the permitted opcodes with an argument do."""

PLAIN: dict[str, Callable[[_Machine], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _: None),
    "MEMOIZE": lambda m: m.remember(len(m.memo)),
    "NONE": lambda m: m.push(None),
    "NEWTRUE": lambda m: m.push(True),
    "NEWFALSE": lambda m: m.push(False),
    "MARK": lambda m: m.marks.append(len(m.stack)),
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": lambda m: m.stack.extend([m.pop()] * 2),
    "EMPTY_TUPLE": lambda m: m.push(()),
    "TUPLE": lambda m: m.push(tuple(m.pop_mark())),
    "TUPLE1": lambda m: m.push((m.pop(),)),
    "TUPLE2": lambda m: m.push((m.pop(), m.pop())[::-1]),
    "TUPLE3": lambda m: m.push((m.pop(), m.pop(), m.pop())[::-1]),
    "EMPTY_LIST": lambda m: m.push([]),
    "LIST": lambda m: m.push(m.pop_mark()),
    "APPEND": lambda m: (lambda item: m.top(list).append(item))(m.pop()),
    "APPENDS": lambda m: (lambda items: m.top(list).extend(items))(m.pop_mark()),
    "EMPTY_DICT": lambda m: m.push({}),
    "DICT": lambda m: m.to_dict(m.pop_mark()),
    "SETITEM": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m: m.set_items(m.pop_mark()),
    "EMPTY_SET": lambda m: m.push(set()),
    "ADDITEMS": lambda m: (lambda items: m.top(set).update(map(m.key, items)))(m.pop_mark()),
    "FROZENSET": lambda m: m.push(frozenset(map(m.key, m.pop_mark()))),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": lambda m: m.call(m.pop()),
    "NEWOBJ": lambda m: m.call(m.pop()),
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "BUILD": _Machine.build,
    "BINPERSID": lambda m: m.persistent_id(m.pop()),
}  # fmt: skip
"""What the others do. In neither: PERSID, INST, OBJ, the extension registry and out-of-band buffers."""
