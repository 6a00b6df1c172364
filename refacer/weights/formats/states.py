"""What a file may ask for: sizes are checked before a network is built, shapes before a number is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from refacer.errors import InputRefused
from refacer.networks.stylegan2.networks import DiscriminatorConfig, GeneratorConfig
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.inert import LazyTensor, NumpyArray

LazyState = Mapping[str, LazyTensor]
Shapes = Mapping[str, tuple[int, ...]]

MAX_TENSORS = 20_000
MAX_SHARING = 2  # how often the data may be read in all, on average
COUNTER = "num_batches_tracked"  # of batch normalisation; older files have none

LARGEST = {
    "img_resolution": 4096, "channel_base": 1 << 20, "channel_max": 8192, "z_dim": 8192, "w_dim": 8192,
    "mapping_layers": 64, "mbstd_group_size": 8192,
}  # fmt: skip
"""How large a network a file may ask for, whatever its format."""


class Shaped(Protocol):
    """A tensor, read or not."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...


C = TypeVar("C", GeneratorConfig, DiscriminatorConfig)
M = TypeVar("M", bound=nn.Module)


def config_from(kind: type[C], values: Any) -> C:
    """The configuration that a file's values describe.

    Raises InputRefused for a size that is none or too large, ShapeMismatch where the sizes make no network.
    """
    if type(values) is not dict:
        raise InputRefused("damaged: a configuration that is none")
    for name in LARGEST.keys() & values.keys():
        if values[name] is not None or name != "mbstd_group_size":
            value, largest = values[name], LARGEST[name]
            if type(value) is not int or not 0 < value <= largest:
                raise InputRefused(f"its {name} is not a whole number from 1 to {largest}")
    clamp = values.get("conv_clamp")
    if clamp is not None and (type(clamp) not in (int, float) or not 0 < clamp < math.inf):
        raise InputRefused("its conv_clamp is not a positive number")
    return kind.from_dict({**values, "conv_clamp": None if clamp is None else float(clamp)})


def state_dict(content: Any) -> dict[str, LazyTensor] | None:
    """A dict of names and tensors, without DataParallel's prefix; None where the content is something else."""
    if type(content) is not dict or not 0 < len(content) <= MAX_TENSORS:
        return None
    state = {name: value.lazy if type(value) is NumpyArray else value for name, value in content.items()}
    if not all(type(name) is str and type(value) is LazyTensor for name, value in state.items()):
        return None
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    return {name.removeprefix(prefix): value for name, value in state.items() if value is not None}


def under(state: LazyState, prefix: str) -> dict[str, LazyTensor]:
    """The part of a state below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def shapes_of(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's state; no memory is taken for it."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}


def require(state: Mapping[str, Shaped], expected: Shapes) -> None:
    """Raise InputRefused unless names and shapes are the expected ones; counters of batches may be missing."""
    missing = [name for name in expected if name not in state and not name.endswith(COUNTER)]
    foreign = [name for name in state if name not in expected and not name.endswith(COUNTER)]
    if missing or foreign:
        raise InputRefused(f"{shown((missing or foreign)[0])} is {'missing' if missing else 'not a part of it'}")
    for name, lazy in state.items():
        if name in expected and tuple(lazy.shape) != tuple(expected[name]):
            raise InputRefused(f"{name} has shape {tuple(lazy.shape)}; it must be {tuple(expected[name])}")


def read_state(state: LazyState) -> dict[str, Tensor]:
    """Read a state: floating-point numbers as float32, all of them finite."""
    held = {id(lazy.storage): lazy.storage.nbytes for lazy in state.values()}
    if sum(lazy.storage.nbytes for lazy in state.values()) > MAX_SHARING * sum(held.values()):
        raise InputRefused("its tensors share their data in a way that no weights do")
    return {name: _finite(name, lazy.tensor()) for name, lazy in state.items()}


def filled(build: Callable[[], M], state: LazyState) -> M:
    """A network with a state, strictly: float32, eval mode, without gradients."""
    require(state, shapes_of(build))
    return filled_with(build, read_state(state))


def filled_with(build: Callable[[], M], state: Mapping[str, Tensor]) -> M:
    """The same from tensors that have been checked."""
    with torch.device("meta"):
        module = build()
    module.load_state_dict(dict(state), assign=True)
    return module.eval().requires_grad_(False)


def _finite(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    if not tensor.isfinite().all():
        raise InputRefused(f"{shown(name)} holds values that are not finite")
    return tensor
