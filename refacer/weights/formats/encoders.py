"""Checkpoints of pSp-like encoders (pSp, e4e, ReStyle, HyperStyle): weights, options, an average code, a decoder."""

from __future__ import annotations

import math
from typing import Any

from refacer.errors import InputRefused
from refacer.weights.formats.inert import Fields, LazyTensor
from refacer.weights.formats.states import state_dict, under

DECODER = "decoder."
TYPES = {
    "Encoder4Editing": "e4e", "GradualStyleEncoder": "psp", "BackboneEncoder": "restyle",
    "ProgressiveBackboneEncoder": "restyle", "ResNetBackboneEncoder": "restyle",
    "ResNetProgressiveBackboneEncoder": "restyle",
}  # fmt: skip
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
    """'e4e', 'psp', 'restyle', 'hyperstyle' or, where the options name another encoder, 'encoder'."""
    if any(name.startswith("hypernet.") for name in state):
        return "hyperstyle"
    return TYPES.get(str(found.get("encoder_type", "")), "encoder")


def _plain(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MAX_TEXT and not any(sign in value for sign in LOCAL)
    return type(value) in (int, bool, type(None)) or (type(value) is float and math.isfinite(value))
