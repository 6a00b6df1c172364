"""HyperStyle's two files: the hypernetwork beside its generator, and the encoder into W. Sizes are told by shapes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from refacer.errors import InputRefused, RefacerError
from refacer.networks.hyperstyle import HyperConfig, HyperNetwork, SingleCodeEncoder, layer_names
from refacer.networks.stylegan2.networks import Generator
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.inert import LazyTensor
from refacer.weights.formats.states import LazyState, require, shapes_of, under

HYPERSTYLE, W_ENCODER = "hyperstyle", "hyperstyle-w"
SHARED = "shared_weight_hypernet"
MAX_UNITS, MAX_PASSES = 64, 16
PASSES = "n_iters_per_batch"
PUBLISHED_PASSES = 5


def without_aliases(state: LazyState) -> dict[str, LazyTensor]:
    """A hypernetwork's state with the weights that its blocks share once; InputRefused where a block has its own."""
    kept: dict[str, LazyTensor] = {}
    for name, lazy in state.items():
        head, found, last = name.rpartition(".hypernet.")
        if not found or ".refinement_blocks." not in f".{head}":
            kept[name] = lazy
            continue
        shared = state.get(f"hypernet.{SHARED}.{last}")
        same = shared and (shared.storage is lazy.storage, shared.offset, shared.shape, shared.stride)
        if same != (True, lazy.offset, lazy.shape, lazy.stride):
            raise InputRefused(f"{shown(name)} is not the shared one; take the published file")
    return kept


def network_config(state: LazyState, generator: Generator | None, found: Mapping[str, Any]) -> dict[str, Any]:
    """The hypernetwork's sizes, every name and shape of it checked. generator: the one in the same file."""
    if generator is None:
        raise InputRefused("its generator is missing; take the published file, which holds both")
    own = {name: lazy for name, lazy in state.items() if name != "latent_avg"}
    try:
        config = _sizes(under(own, "hypernet."), generator, found)
        shapes = shapes_of(lambda: HyperNetwork(config))
    except (KeyError, IndexError, ValueError, ArithmeticError, RefacerError) as error:
        raise InputRefused(f"its network does not look like HyperStyle's ({shown(str(error))})") from error
    require(own, {f"hypernet.{name}": shape for name, shape in shapes.items()})
    return config.to_dict()


def encoder_sizes(state: LazyState) -> dict[str, Any]:
    """The W encoder's sizes, every name and shape of it checked."""
    own = {name: lazy for name, lazy in state.items() if name != "latent_avg"}
    if "latent_avg" not in state:
        raise InputRefused("its average code (latent_avg) is missing; take the published file")
    try:
        units, widths = _stages(under(own, "encoder."), "body.{}.res_layer.3.weight")
        w_dim = state["encoder.linear.weight"].shape[0]
        config = HyperConfig(1, w_dim, {}, encoder_units=units, encoder_widths=widths)
        shapes = shapes_of(lambda: SingleCodeEncoder(config))
    except (KeyError, IndexError, ValueError, ArithmeticError, RefacerError) as error:
        raise InputRefused(f"its encoder does not look like HyperStyle's ({shown(str(error))})") from error
    require(own, {f"encoder.{name}": shape for name, shape in shapes.items()})
    return {"encoder_units": list(units), "encoder_widths": list(widths), "w_dim": w_dim}


def _sizes(state: LazyState, generator: Generator, found: Mapping[str, Any]) -> HyperConfig:
    names, weights = layer_names(generator.config), generator.state_dict()
    chosen = sorted({int(name.split(".")[1]) for name in state if name.startswith("refinement_blocks.")})
    layers = {index: (weights[names[index]].shape[0], weights[names[index]].shape[1]) for index in chosen}
    shared = state[f"{SHARED}.w1"].shape[0]
    units, widths = _stages(state, "body.{}.conv2.weight")
    by_shared = next(index for index in chosen if layers[index] == (shared, shared))
    convolutions = [name for name in state if name.startswith(f"refinement_blocks.{by_shared}.convs.")]
    halvings = len(convolutions) // 2 - 1
    inner = [state[f"refinement_blocks.{index}.convs.0.weight"].shape[0] for index in chosen if index != by_shared]
    own = [width for index, width in zip((i for i in chosen if i != by_shared), inner, strict=True)
           if layers[index] != (shared, shared)]  # fmt: skip
    passes = found.get(PASSES, PUBLISHED_PASSES)
    if halvings > 8 or type(passes) is not int or not 0 < passes <= MAX_PASSES:
        raise ValueError(f"{PASSES} {passes}")
    return HyperConfig(
        generator.num_ws, generator.w_dim, layers, 2 ** (halvings + len(widths)), shared, units=units, widths=widths,
        inner=own[0] if own else 1, inner_shared=state[f"refinement_blocks.{by_shared}.convs.0.weight"].shape[0],
        passes=passes,
    )  # fmt: skip


def _stages(state: LazyState, pattern: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Units and widths of a trunk whose stages differ in width."""
    outputs = [pattern.format(i) for i in range(MAX_UNITS)]
    stages = [(width, len([*units])) for width, units in groupby(state[n].shape[0] for n in outputs if n in state)]
    if len(stages) != 4:
        raise ValueError("another trunk")
    return tuple(count for _, count in stages), tuple(width for width, _ in stages)
