"""Public weight files to safetensors. A file is recognised by its content; nothing in it is executed.

NVIDIA's pickles and rosinality's checkpoints become our generator and discriminator; other networks keep their
published key names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from refacer.errors import InputRefused
from refacer.networks.stylegan2.networks import Discriminator, Generator
from refacer.weights.formats import clip, encoders, hyperstyle, nvidia, rosinality
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.containers import read_weights, refusing
from refacer.weights.formats.inert import LazyTensor
from refacer.weights.formats.recognise import recognise
from refacer.weights.formats.states import LazyState, read_state, state_dict
from refacer.weights.loaders import KIND, encode_network, load_generator

STYLEGAN2 = "stylegan2"
GENERATOR_FILE, DISCRIMINATOR_FILE, NETWORK_FILE = (
    f"{name}.safetensors" for name in ("generator", "discriminator", "network")
)
SAFETENSORS_HEAD_BYTES = 9  # the header's length, then its brace


@dataclass(frozen=True)
class Converted:
    """What a public file holds.

    kind: 'stylegan2', 'bisenet', 'parsenet', 'retinaface', 'ir_se50', 'curricularface', 'vgg16', 'alexnet',
        'inception', 'sketch', 'clip', 'e4e', 'psp', 'restyle-psp', 'restyle-e4e', 'hyperstyle',
        'hyperstyle-w', 'encoder'.
    files: safetensors bytes by file name. generator.safetensors and discriminator.safetensors are read by
        `refacer.weights.loaders`; network.safetensors holds any other state under its published names, with `kind` in
        its metadata (`loaders.read_network(path, kind)`).
    notes: what was dropped, derived or found beside the weights; one line each.
    """

    kind: str
    files: dict[str, bytes]
    notes: tuple[str, ...]


Made = tuple[Generator, tuple[str, ...]]


def convert(path: Path, kind: str | None = None) -> Converted:
    """Read a public weight file; `kind` says what it must hold. Raises InputRefused, WeightsMissing (no file)."""
    if _is_safetensors(path):
        found = _clip(path) or Converted(STYLEGAN2, {GENERATOR_FILE: _encoded(load_generator(path))}, ())
    else:
        with refusing(path):
            found = _converted(read_weights(path))
    if kind not in (None, found.kind):
        raise InputRefused(f"{path}: holds {found.kind}, not {kind}")
    return found


def load_generator_file(path: Path) -> Generator:
    """A generator of ours, NVIDIA's or rosinality's: float32, eval, without gradients. Raises as `convert`."""
    if _is_safetensors(path):
        return load_generator(path)
    with refusing(path):
        made = _generator(read_weights(path))
        if made is None:
            raise InputRefused("holds no StyleGAN2 generator")
        return made[0]


def _is_safetensors(path: Path) -> bool:
    """Whether a file starts as safetensors do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(SAFETENSORS_HEAD_BYTES)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _clip(path: Path) -> Converted | None:
    """CLIP under its published names; None where a safetensors file is something else."""
    try:
        with safe_open(path, framework="pt") as file:
            if clip.MARKER not in file.keys():  # noqa: SIM118
                return None
            state = clip.own_state({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
        config = clip.network_config(state)
    except SafetensorError as error:
        raise InputRefused(f"{path}: a damaged safetensors file") from error
    except InputRefused as error:
        raise InputRefused(f"{path}: looks like clip, but {error}") from error
    wrong = next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
    if wrong:
        raise InputRefused(f"{path}: {shown(wrong)} holds values that are not finite")
    about = json.dumps({"kind": clip.CLIP, "config": asdict(config)}, sort_keys=True)
    return Converted(clip.CLIP, {NETWORK_FILE: save(state, metadata={KIND: about})}, ())


def _converted(content: Any) -> Converted:
    if encoders.is_checkpoint(content):
        return _encoder(content)
    made = _generator(content)
    if made is not None:
        return _stylegan2(content, *made)
    state = _bare_state(content)
    if state is None:
        raise InputRefused("holds no weights that refacer knows")
    found = recognise(state)
    if found is None:
        raise InputRefused(f"a state dict that refacer does not know; it starts with {shown(next(iter(state)))}")
    own = clip.own_state(state) if found[0] == clip.CLIP else state
    return Converted(found[0], {NETWORK_FILE: _encoded_state(own, *found)}, ())


def _generator(content: Any) -> Made | None:
    """The generator of a file and notes on it; None where it holds none. Of several, the averaged one."""
    records = nvidia.modules(content)
    if records and "G_ema" not in records:
        raise InputRefused(f"a pickle without G_ema; it holds {shown(', '.join(sorted(records)))}")
    if records:
        return nvidia.generator(records["G_ema"]), ()
    if encoders.is_checkpoint(content):
        _, decoder, average = encoders.states(content)
        return rosinality.generator(decoder, average) if decoder else None
    state = _bare_state(content)
    if state is None or not rosinality.is_generator(state):
        return None
    average = content.get("latent_avg")
    return rosinality.generator(
        {name: lazy for name, lazy in state.items() if name != "latent_avg"},
        average if type(average) is LazyTensor else None,
    )


def _bare_state(content: Any) -> dict[str, LazyTensor] | None:
    """A state dict as it is, or under the name that rosinality or OpenMMLab gives it."""
    if type(content) is dict:
        content = next((content[name] for name in ("g_ema", "state_dict") if name in content), content)
    return state_dict(content)


def _stylegan2(content: Any, generator: Generator, notes: tuple[str, ...]) -> Converted:
    """Generator, and the discriminator where there is one that fits; a misfit is left out and said so."""
    files = {GENERATOR_FILE: _encoded(generator)}
    try:
        judge, more = _discriminator(content, generator)
    except InputRefused as error:
        judge, more = None, (f"its discriminator is left out: {error}",)
    if judge is not None:
        files[DISCRIMINATOR_FILE] = _encoded(judge)
    return Converted(STYLEGAN2, files, notes + more)


def _discriminator(content: Any, generator: Generator) -> tuple[Discriminator | None, tuple[str, ...]]:
    records = nvidia.modules(content)
    if "D" in records:
        return nvidia.discriminator(records["D"])
    state = state_dict(content.get("d")) if type(content) is dict else None
    if state:
        return rosinality.discriminator(state, generator.config), ()
    return None, ("it brings no discriminator",)


def _encoder(content: dict[str, Any]) -> Converted:
    """An encoder under its published names; its decoder, where there is one, as our generator."""
    own, decoder, _ = encoders.states(content)
    options = encoders.options(content)
    kind = encoders.kind(own, options)
    made = _generator(content) if decoder else None
    known: dict[str, Any] = {"options": options}
    if kind in encoders.USABLE:
        known["network"] = encoders.network_config(encoders.USABLE[kind], own, options).to_dict()
    elif kind == hyperstyle.HYPERSTYLE:
        own = hyperstyle.without_aliases(own)
        known["network"] = hyperstyle.network_config(own, made[0] if made else None, options)
    elif kind == hyperstyle.W_ENCODER:
        known["network"] = hyperstyle.encoder_sizes(own)
    files = {NETWORK_FILE: _encoded_state(own, kind, known)}
    notes = tuple(f"{name}: {options[name]}" for name in ("encoder_type", "output_size") if name in options)
    if made:
        files[GENERATOR_FILE] = _encoded(made[0])
        notes += ("its decoder is kept as a generator of its own", *made[1])
    return Converted(kind, files, notes)


def _encoded(network: Generator | Discriminator) -> bytes:
    """In float32: what was published, unchanged."""
    kind = "generator" if isinstance(network, Generator) else "discriminator"
    return encode_network(network, kind, network.config.to_dict(), half=False)


def _encoded_state(state: LazyState, kind: str, config: dict[str, Any]) -> bytes:
    about = json.dumps({"kind": kind, "config": config}, sort_keys=True)
    return save(read_state(state), metadata={KIND: about})
