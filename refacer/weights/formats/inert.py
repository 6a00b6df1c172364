"""What the names in a weight file stand for: tensors that are read when they are asked for, numbers, plain records.

`NAMES` is the whole allow-list. None of its entries imports, runs or looks up anything that a file says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refacer.errors import InputRefused
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.unpickle import Global, Maker, short

MAX_DIMS = 8
PERSISTENCE_VERSION = 6

STORAGES = {
    "torch FloatStorage": torch.float32, "torch HalfStorage": torch.float16, "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64, "torch LongStorage": torch.int64, "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16, "torch CharStorage": torch.int8, "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}  # fmt: skip
NUMPY_CODES = {
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "i1": torch.int8, "i2": torch.int16,
    "i4": torch.int32, "i8": torch.int64, "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip
RAW = {size: np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}  # as numpy knows no bfloat16


@dataclass
class Storage:
    """Numbers in a row. `read` gives their little-endian bytes; a container sets it once it knows where they are."""

    dtype: torch.dtype
    numel: int
    read: Callable[[], bytes | memoryview] | None = None

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that has been described but not read. Raises InputRefused where it reaches beyond its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride) or len(self.shape) > MAX_DIMS or not all(map(_natural, numbers)):
            raise InputRefused("damaged: a tensor of impossible shape")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if math.prod(self.shape) > self.storage.numel or (math.prod(self.shape) and last >= self.storage.numel):
            raise InputRefused("damaged: a tensor reaches beyond its data")

    def tensor(self) -> Tensor:
        """Read it, in its own dtype."""
        storage, size = self.storage, self.storage.dtype.itemsize
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=storage.dtype)
        data = storage.read() if storage.read else b""
        if len(data) != storage.nbytes:
            raise InputRefused("damaged: a tensor without its data")
        if storage.dtype is torch.bool and max(bytes(data)) > 1:
            raise InputRefused("damaged: a truth value that is neither")
        flat = np.frombuffer(data, RAW[size])[self.offset :]
        strided = np.lib.stride_tricks.as_strided(flat, self.shape, [step * size for step in self.stride])
        return torch.from_numpy(strided.copy(order="C")).view(storage.dtype)


@dataclass
class NumpyType:
    """A numpy dtype of plain numbers."""

    code: str

    @property
    def dtype(self) -> torch.dtype:
        """The same in torch."""
        return NUMPY_CODES[self.code]

    def build(self, state: Any) -> None:
        """Take (version, byte order, ...); only little-endian numbers without fields are allowed."""
        if type(state) is not tuple or state[1] not in ("<", "|", "=") or any(x is not None for x in state[2:5]):
            raise InputRefused("holds numpy data of a kind that is not read")


@dataclass
class NumpyArray:
    """A numpy array; empty until its state comes."""

    lazy: LazyTensor | None = None

    def build(self, state: Any) -> None:
        """Take (version, shape, dtype, in Fortran's order, data)."""
        _, shape, kind, fortran, data = state
        raw = data.encode("latin1") if type(data) is str else data
        if type(kind) is not NumpyType or type(raw) is not bytes or not _is_shape(shape):
            raise InputRefused("holds a numpy array that is not of plain numbers")
        storage = Storage(kind.dtype, len(raw) // kind.dtype.itemsize, lambda: raw)
        self.lazy = LazyTensor(storage, 0, shape, _strides(shape, bool(fortran)))


@dataclass
class Fields:
    """The attributes of an object such as argparse's Namespace."""

    values: dict[str, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Take the attributes."""
        if type(state) is not dict:
            raise InputRefused("damaged: attributes that are no dict")
        self.values = state


@dataclass(frozen=True)
class ModuleRecord:
    """One of NVIDIA's persistent modules: the name of its class and its attributes. Its source is not looked at."""

    class_name: str
    state: Mapping[str, Any]


def number(kind: Any, data: Any) -> int | float | bool:
    """A numpy scalar as Python's own."""
    raw = data.encode("latin1") if type(data) is str else data
    if type(kind) is not NumpyType or type(raw) is not bytes or len(raw) != kind.dtype.itemsize:
        raise InputRefused("holds a numpy scalar that is not a plain number")
    return LazyTensor(Storage(kind.dtype, 1, lambda: raw), 0, (), ()).tensor().item()


def rebuilt(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> LazyTensor:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2."""
    if type(storage) is not Storage or not _is_shape(shape) or not _is_shape(stride):
        raise InputRefused("damaged: a tensor without storage or shape")
    return LazyTensor(storage, offset, shape, stride)


def storage_dtype(kind: Any) -> torch.dtype:
    """The dtype that a storage class means."""
    if type(kind) is not Global or kind.name not in STORAGES:
        raise InputRefused(f"holds a storage of kind {shown(getattr(kind, 'name', kind))}")
    return STORAGES[kind.name]


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_shape(value: Any) -> bool:
    return type(value) is tuple and all(map(_natural, value))


def _strides(shape: tuple[int, ...], fortran: bool) -> tuple[int, ...]:
    """Steps in elements of an array without gaps."""
    steps = [1]
    for n in shape[:-1] if fortran else shape[:0:-1]:
        steps.append(steps[-1] * n)
    return tuple(steps if fortran else reversed(steps)) if shape else ()


def _numpy_type(code: Any, *_: Any) -> NumpyType:
    plain = code.lstrip("<|=") if type(code) is str else ""
    if plain not in NUMPY_CODES:
        raise InputRefused(f"holds numpy data of type {shown(code)}")
    return NumpyType(plain)


def _empty_array(kind: Any, *_: Any) -> NumpyArray:
    if type(kind) is not Global or kind.name != "numpy ndarray":
        raise InputRefused(f"rebuilds {shown(getattr(kind, 'name', kind))} as a numpy array")
    return NumpyArray()


def _array_from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
    array = NumpyArray()
    array.build((1, shape, kind, order == "F", data))
    return array


def _pairs(items: Any = ()) -> dict[str, Any]:
    """An OrderedDict: empty, or of pairs as Python 2 wrote it."""
    if type(items) not in (list, tuple) or not all(type(pair) in (list, tuple) for pair in items):
        raise InputRefused("damaged: a dict of no pairs")
    return {_text(key): value for key, value in items}


def _texts(items: Any = ()) -> set[str]:
    if type(items) not in (list, tuple, set, frozenset):
        raise InputRefused("damaged: a set of no items")
    return {_text(item) for item in items}


def _text(value: Any) -> str:
    if type(value) is not str:
        raise InputRefused(f"uses {shown(value)} as a key")
    return short(value)


def _encoded(text: Any, codec: Any) -> bytes:
    """Bytes as protocols 0 to 2 write them."""
    if type(text) is not str or codec not in ("latin1", "latin-1"):
        raise InputRefused("damaged: bytes in an unknown spelling")
    return text.encode("latin1")


def _by_copyreg(kind: Any, base: Any, state: Any) -> Any:
    """An object as protocols 0 and 1 write it: a dict of a class of its own, or one whose attributes follow."""
    if type(kind) is not Global or type(base) is not Global:
        raise InputRefused("damaged: an object of no class")
    return state if base.name.endswith(" dict") and type(state) is dict else kind(())


def _persistent_module(meta: Any) -> ModuleRecord:
    if type(meta) is not dict or meta.get("type") != "class" or meta.get("version") != PERSISTENCE_VERSION:
        raise InputRefused(f"not a persistent module of version {PERSISTENCE_VERSION}")
    if type(meta.get("class_name")) is not str or type(meta.get("state")) is not dict:
        raise InputRefused("damaged: a persistent module without class or state")
    return ModuleRecord(meta["class_name"], meta["state"])


NAMES: dict[str, Maker | None] = {
    **dict.fromkeys(STORAGES),
    "torch_utils.persistence _reconstruct_persistent_obj": _persistent_module,
    **dict.fromkeys(("dnnlib.util EasyDict", "dnnlib EasyDict", "collections OrderedDict"), _pairs),
    **dict.fromkeys(("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"), rebuilt),
    **dict.fromkeys(
        ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"), lambda tensor, *_: tensor
    ),
    **dict.fromkeys(("builtins set", "__builtin__ set"), _texts),
    **dict.fromkeys(("builtins bytes", "__builtin__ bytes"), lambda: b""),
    "torch Size": lambda sizes: sizes,
    "torch device": lambda *_: "device",
    "argparse Namespace": lambda: Fields(),
    **dict.fromkeys(("builtins dict", "builtins object", "__builtin__ dict", "__builtin__ object")),
    **dict.fromkeys(("copyreg _reconstructor", "copy_reg _reconstructor"), _by_copyreg),
    "_codecs encode": _encoded,
    "numpy ndarray": None,
    "numpy dtype": _numpy_type,
    **dict.fromkeys(("numpy.core.multiarray scalar", "numpy._core.multiarray scalar"), number),
    **dict.fromkeys(("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"), _empty_array),
    **dict.fromkeys(("numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"), _array_from_buffer),
    **dict.fromkeys(("jittor Var", "jittor_core Var", "jittor.jittor_core Var"), lambda array: array),
}
"""Every name that a file may mention, and what is made of it; None: nothing, it only marks a kind."""
