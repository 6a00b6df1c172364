"""How large a network a file may ask for, whatever its format: checked before anything is built from what it says."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from refacer.errors import InputRefused
from refacer.networks.stylegan2.networks import DiscriminatorConfig, GeneratorConfig

LARGEST = {
    "img_resolution": 4096, "channel_base": 1 << 20, "channel_max": 8192, "z_dim": 8192, "w_dim": 8192,
    "mapping_layers": 64, "mbstd_group_size": 8192,
}  # fmt: skip

C = TypeVar("C", GeneratorConfig, DiscriminatorConfig)


def config_from(kind: type[C], values: Any) -> C:
    """The configuration that a file's values describe.

    Raises InputRefused for a size that is none or too large, ShapeMismatch where the sizes make no network.
    """
    if type(values) is not dict:
        raise InputRefused("damaged: a configuration that is none")
    for name in LARGEST.keys() & values.keys():
        if values[name] is not None or name != "mbstd_group_size":
            _require_size(name, values[name])
    clamp = values.get("conv_clamp")
    if clamp is not None and (type(clamp) not in (int, float) or not 0 < clamp < math.inf):
        raise InputRefused("its conv_clamp is not a positive number")
    return kind.from_dict({**values, "conv_clamp": None if clamp is None else float(clamp)})


def _require_size(name: str, value: Any) -> None:
    if type(value) is not int or not 0 < value <= LARGEST[name]:
        raise InputRefused(f"its {name} is not a whole number from 1 to {LARGEST[name]}")
