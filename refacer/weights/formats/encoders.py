"""Checkpoints of pSp-like encoders (pSp, e4e, ReStyle, HyperStyle): weights, options, an average code, a decoder.

Those that refacer can use are checked by every name and shape; others are kept as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any, get_args

from refacer.errors import InputRefused, RefacerError
from refacer.networks.encoders import EncoderConfig, FaceEncoder
from refacer.options import EncoderName
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.hyperstyle import HYPERSTYLE, W_ENCODER
from refacer.weights.formats.inert import Fields, LazyTensor
from refacer.weights.formats.states import LazyState, require, shapes_of, state_dict, under

DECODER = "decoder."
TYPES = {
    "Encoder4Editing": "e4e", "GradualStyleEncoder": "psp", "BackboneEncoder": "restyle-psp",
    "ProgressiveBackboneEncoder": "restyle-e4e",
}  # fmt: skip
PASSES = "n_iters_per_batch"  # ReStyle's option
PUBLISHED_PASSES = 5
USABLE: Mapping[str, EncoderName] = {name: name for name in get_args(EncoderName)}
"""Kinds that there is a network for."""

MAX_UNITS, MAX_CODES, MAX_HALVINGS, MAX_PASSES = 64, 64, 8, 16
MAX_OPTIONS = 300
MAX_TEXT = 200
LOCAL = ("/", "\\")  # an option with these is a place on the author's machine


def is_checkpoint(content: Any) -> bool:
    """Whether a file holds a state beside the options it was trained with."""
    return type(content) is dict and "state_dict" in content and "opts" in content


def states(content: dict[str, Any]) -> tuple[dict[str, LazyTensor], dict[str, LazyTensor], LazyTensor | None]:
    """The encoder's state, the decoder's in rosinality's layout (may be empty), the average code."""
    state = state_dict(content["state_dict"])
    if state is None:
        raise InputRefused("its state_dict is none")
    average = content.get("latent_avg")
    own = {name: lazy for name, lazy in state.items() if not name.startswith(DECODER)}
    if type(average) is LazyTensor:
        own["latent_avg"] = average
    return own, under(state, DECODER), average if type(average) is LazyTensor else None


def options(content: dict[str, Any]) -> dict[str, Any]:
    """The plain ones among the options: numbers, words; not the paths of their author's machine."""
    values = content["opts"].values if type(content["opts"]) is Fields else content["opts"]
    if type(values) is not dict or len(values) > MAX_OPTIONS:
        raise InputRefused("its opts are no options")
    return {name: value for name, value in values.items() if type(name) is str and _plain(value)}


def kind(state: dict[str, LazyTensor], found: dict[str, Any]) -> str:
    """'e4e', 'psp', 'restyle-psp', 'restyle-e4e', one of HyperStyle's two, or 'encoder' for others."""
    if any(name.startswith("hypernet.") for name in state):
        return HYPERSTYLE
    if "encoder.linear.weight" in state and "encoder.styles.0.linear.weight" not in state:
        return W_ENCODER
    return TYPES.get(str(found.get("encoder_type", "")), "encoder")


def network_config(kind: EncoderName, state: LazyState, found: Mapping[str, Any]) -> EncoderConfig:
    """The configuration of an encoder's state, every name and shape of which is checked.

    Raises InputRefused for a state of another network, options that say it was trained for something else, and a
    missing average code.
    """
    if found.get("learn_in_w"):
        raise InputRefused(f"its {kind} encoder was trained in W, with one code for all layers")
    if "latent_avg" not in state:
        raise InputRefused("its average code (latent_avg) is missing; take the published file")
    own = {name: lazy for name, lazy in state.items() if name != "latent_avg"}
    try:
        config = _sizes(kind, under(own, "encoder."), found)
        shapes = shapes_of(lambda: FaceEncoder(config))
    except (KeyError, IndexError, ValueError, ArithmeticError, RefacerError) as error:
        raise InputRefused(f"its encoder does not look like {kind} ({shown(str(error))})") from error
    average = shapes.pop("latent_avg")
    require(own, shapes)
    if state["latent_avg"].shape not in (average, average[1:]):
        raise InputRefused(f"latent_avg has shape {state['latent_avg'].shape}; it must be {average}")
    return config


def _sizes(kind: EncoderName, state: LazyState, found: Mapping[str, Any]) -> EncoderConfig:
    """What the shapes say, as far as they say anything; KeyError and the like where they are another network's."""
    outputs = [f"body.{i}.res_layer.3.weight" for i in range(MAX_UNITS)]
    stages = [(width, len([*units])) for width, units in groupby(state[n].shape[0] for n in outputs if n in state)]
    heads = [i for i in range(MAX_CODES) if f"styles.{i}.linear.weight" in state]
    convolutions = [name.split(".")[1] for name in state if name.startswith("styles.") and ".convs." in name]
    halvings = [convolutions.count(str(i)) // 2 for i in heads]  # each has a weight and a bias
    if len(stages) != 4 or max(halvings) > MAX_HALVINGS:
        raise ValueError("another trunk")
    w_dim, head_width = state["styles.0.linear.weight"].shape
    passes = found.get(PASSES, PUBLISHED_PASSES) if kind.startswith("restyle") else 1
    if type(passes) is not int or not 0 < passes <= MAX_PASSES:
        raise ValueError(f"{PASSES} {passes}")
    widths, units = zip(*stages, strict=True)
    return EncoderConfig(
        kind, len(heads), w_dim, 16 * 2 ** halvings[0], units, widths, head_width,
        coarse=halvings.count(halvings[0]), fine=len(heads) - halvings.count(halvings[0] + 2), passes=passes,
    )  # fmt: skip


def _plain(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MAX_TEXT and not any(sign in value for sign in LOCAL)
    return type(value) in (int, bool, type(None)) or (type(value) is float and math.isfinite(value))
