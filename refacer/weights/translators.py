"""A pair's distilled network from and to its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from refacer.errors import InputRefused, RefacerError
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.weights.formats.states import require, shapes_of
from refacer.weights.loaders import encode_network, read_network

KIND = "translator"
LARGEST_PX, LARGEST_CHANNELS = 1024, 2048
MAX_BYTES = 4 * 2**20


def encode_translator(translator: Translator) -> bytes:
    """The network's file, in half precision, at most MAX_BYTES of it for the default sizes."""
    return encode_network(translator, KIND, translator.settings)


def load_translator(path: Path) -> Translator:
    """A translator in float32, eval mode, without gradients; InputRefused for any other file or layout."""
    state, settings = read_network(path, KIND)
    try:
        config = _config(settings)
        require(state, shapes_of(lambda: Translator(config)))
        translator = Translator(config)
        translator.load_state_dict(state)
    except (RefacerError, RuntimeError, LookupError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, RefacerError) else type(error).__name__
        raise InputRefused(f"{path}: its tensors do not fit its own configuration ({reason})") from error
    return translator.eval().requires_grad_(False)


def _config(settings: dict[str, Any]) -> TranslatorConfig:
    """The sizes that a file states, none of them larger than a file of a pair may ask for."""
    channels = settings["channels"]
    sizes = [settings["input_px"], *channels]
    limits = [value for name, value in settings.items() if name.endswith("_limit")]
    if any(type(size) is not int or not 0 < size <= LARGEST_CHANNELS for size in sizes) or sizes[0] > LARGEST_PX:
        raise InputRefused("its sizes are no whole numbers in range")
    if len(channels) != 4 or any(type(limit) not in (int, float) or not 0 <= limit <= 16 for limit in limits):
        raise InputRefused("its limits are none")
    return TranslatorConfig(**{**settings, "channels": tuple(channels)})
