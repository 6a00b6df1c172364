"""What pair.json says: every field and what its value must be, checked before the program uses one of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from refacer.errors import InputRefused
from refacer.files.json_text import parse_json
from refacer.options import Axes, CompositeOptions, DecodeOptions, Paste, ProjectOptions, Way
from refacer.weights import registry
from refacer.weights.formats.bounded import shown

PAIR_FILE = "pair.json"
PAIR_FORMAT = 1
MAX_SIZE = 1 << 20  # of anything counted
MAX_STRENGTH = 10
PERCENTILES = 101  # from 0 to 100

DISCRIMINATOR, EFFICIENTNET = "discriminator", "efficientnet-lite0"
"""What a pair can name as its perceptual network: its own discriminator, or a network of the registry."""

Fits = Callable[[Any], bool]


@dataclass(frozen=True)
class PairDefaults:
    """The pair's own settings: of `project`, of how `decode` draws with its realistic generator (psi), of how faces are
    pasted, how strong a change is, and which way `run` takes.

    encoder_steps, encoder_lr: of `project` from the pair's encoder; None: as from elsewhere.
    """

    steps: int
    lr: float
    psi: float = DecodeOptions.truncation_psi
    prior: float = ProjectOptions.prior_weight
    paste: Paste = "auto"
    strength: float = CompositeOptions.strength
    way: Way = "project"
    axes: Axes = ProjectOptions.axes
    encoder_steps: int | None = None
    encoder_lr: float | None = None

    def projection(self, *, encoded: bool, axes: Axes | None = None) -> ProjectOptions:
        """The options of `project`. encoded: from the pair's encoder; axes: None for the pair's own."""
        options = ProjectOptions(steps=self.steps, lr=self.lr, prior_weight=self.prior)
        if (axes or self.axes) == "styles":
            options = options.along_styles()
        if not encoded:
            return options
        return replace(options.from_encoder(), steps=self.encoder_steps or self.steps, lr=self.encoder_lr or self.lr)


def is_text(value: Any) -> bool:
    """Whether a value is a text."""
    return type(value) is str


def is_size(value: Any) -> bool:
    """Whether a value is a whole number from 1 to MAX_SIZE."""
    return type(value) is int and 0 < value <= MAX_SIZE


def is_number(least: float = 0, most: float = math.inf, excluded: Collection[float] = (math.inf,)) -> Fits:
    """A test for numbers from `least` to `most`, both included but where they are `excluded`; nan never fits."""

    def fits(value: Any) -> bool:
        return type(value) in (int, float) and least <= value <= most and value not in excluded

    return fits


def is_object(required: Mapping[str, Fits], optional: Mapping[str, Fits] | None = None) -> Fits:
    """A test for objects that have all `required` fields, perhaps `optional` ones, and no others."""
    known = {**required, **(optional or {})}

    def fits(value: Any) -> bool:
        if type(value) is not dict or not required.keys() <= value.keys() <= known.keys():
            return False
        return all(known[name](inner) for name, inner in value.items())

    return fits


def is_network(value: Any) -> bool:
    """Whether a value names a network: its sha256, perhaps its file and the weight it was taken from; all texts."""
    return type(value) is dict and "sha256" in value and all(map(is_text, value.values()))


def is_ascending(value: Any, count: int) -> bool:
    """Whether a value is a list of so many numbers from 0, none smaller than the one before."""
    if type(value) is not list or len(value) != count or not all(map(is_number(), value)):
        return False
    return all(first <= second for first, second in pairwise(value))


def is_anything(_value: Any) -> bool:
    """No test; the network itself checks what it is given."""
    return True


POSITIVE = is_number(excluded=(0, math.inf))
PARTS = is_object({"side_px": is_size, "weight": is_number(0, 1, excluded=(0, 1))})

FACTS: Mapping[str, Fits] = {
    "format": lambda value: value == PAIR_FORMAT,
    "name": is_text,
    "licence": is_text,
    "commercial": lambda value: value in registry.SEVERITY,
    "resolution": is_size,
    "num_ws": is_size,
    "w_dim": is_size,
    "w_std": POSITIVE,
    "defaults": is_object(
        {"steps": is_size, "lr": POSITIVE},
        {
            "psi": is_number(0, 1, excluded=(0,)),
            "prior": is_number(),
            "paste": lambda value: value in get_args(Paste),
            "strength": is_number(0, MAX_STRENGTH),
            "way": lambda value: value in get_args(Way),
            "axes": lambda value: value in get_args(Axes),
            "encoder_steps": lambda value: value is None or is_size(value),
            "encoder_lr": lambda value: value is None or POSITIVE(value),
        },
    ),
    "networks": lambda value: type(value) is dict and all(map(is_network, value.values())),
    "perceptual": is_object(
        {},
        {
            "network": is_anything,
            "input_px": is_anything,
            "blocks": is_anything,
            "weights": is_anything,
            "parts": lambda value: value is None or PARTS(value),
        },
    ),
}
"""The fields that pair.json must have, each with the test of its value."""

OPTIONAL: Mapping[str, Fits] = {
    "range": is_object({"distance": lambda value: is_ascending(value, PERCENTILES)}),
}
"""Fields that it may have. Further ones are allowed and not read.

range: percentiles 0 to 100 of how far the projections of the pair's own renders stayed from them (Eq. 4).
"""


def read_facts(path: Path) -> Mapping[str, Any]:
    """The content of a pair.json; raises InputRefused, naming the field, where a value cannot be."""
    try:
        content = parse_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise InputRefused(f"{path}: not a pair description") from error
    if problem := _problem(content):
        raise InputRefused(f"{path}: not a pair description of format {PAIR_FORMAT} ({problem})")
    return content


def encode_facts(facts: Mapping[str, Any]) -> bytes:
    """pair.json as it is written."""
    return json.dumps(facts, indent=1, sort_keys=True).encode() + b"\n"


def _problem(content: Any) -> str | None:
    """Why a JSON value cannot be a pair's description; None for one that can."""
    if type(content) is not dict:
        return "no object"
    for name, fits in FACTS.items():
        if name not in content:
            return f"{name} is missing"
        if not fits(content[name]):
            return f"{name} cannot be {shown(repr(content[name]))}"
    for name, fits in OPTIONAL.items():
        if name in content and not fits(content[name]):
            return f"{name} cannot be {shown(repr(content[name]))}"
    return None
