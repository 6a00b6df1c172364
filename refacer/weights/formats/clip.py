"""CLIP under the names that `transformers` gives it; its sizes are read off its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from refacer.errors import InputRefused
from refacer.networks.clip import Clip, ClipConfig
from refacer.weights.formats.states import Shaped, require, shapes_of

CLIP = "clip"
MARKER = "vision_model.embeddings.class_embedding"
COUNTED = ".position_ids"  # 0, 1, 2 ... in older files
"""Not weights."""

LAYER = "{}.encoder.layers.{}.layer_norm1.weight"


S = TypeVar("S", bound=Shaped)


def own_state(state: Mapping[str, S]) -> dict[str, S]:
    """The state without what is no weight."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(COUNTED)}


def network_config(state: Mapping[str, Shaped]) -> ClipConfig:
    """The sizes of a state, which is then strictly that network's; raises InputRefused."""
    try:
        (patches, width), patch = (
            state["vision_model.embeddings.position_embedding.weight"].shape,
            state["vision_model.embeddings.patch_embedding.weight"].shape[-1],
        )
        vocabulary, text_width = state["text_model.embeddings.token_embedding.weight"].shape
        tokens = state["text_model.embeddings.position_embedding.weight"].shape[0]
        inner = state["vision_model.encoder.layers.0.mlp.fc1.bias"].shape[0]
        embedding = state["visual_projection.weight"].shape[0]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise InputRefused(f"its sizes cannot be read ({error})") from error
    config = ClipConfig(
        round((patches - 1) ** 0.5) * patch,
        patch,
        width,
        _layers(state, "vision_model"),
        text_width,
        _layers(state, "text_model"),
        tokens,
        vocabulary,
        embedding,
        max(1, inner // width),
    )
    require(state, shapes_of(lambda: Clip(config)))
    return config


def _layers(state: Mapping[str, Shaped], tower: str) -> int:
    count = 0
    while LAYER.format(tower, count) in state:
        count += 1
    return count
