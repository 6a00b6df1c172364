"""NVIDIA's StyleGAN2 pickles: persistent modules to our own networks.

Covers snapshots and exports of stylegan2-ada-pytorch and StyleGAN2 networks exported by the stylegan3 repository, whose
arguments lie flat. The networks are built from the arguments that the modules were made with; the source that lies
beside them is neither run nor read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refacer.errors import InputRefused
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.inert import LazyTensor, ModuleRecord
from refacer.weights.formats.states import MAX_TENSORS, config_from, filled

MAX_DEPTH = 16
GROUP = 4  # pictures that share a minibatch statistic
PARTS = ("_parameters", "_buffers", "_modules")  # of a module's state
REGROUPED = f"its discriminator takes minibatch statistics over groups of {GROUP} instead of the whole batch"

GENERATOR_ARGUMENTS = (
    "z_dim",
    "c_dim",
    "w_dim",
    "img_resolution",
    "img_channels",
    "mapping_kwargs",
    "synthesis_kwargs",
)
DISCRIMINATOR_ARGUMENTS = ("c_dim", "img_resolution", "img_channels", "architecture", "channel_base", "channel_max")
SIZES = {"img_resolution": None, "channel_base": 32768, "channel_max": 512}
GENERATOR_SIZES = {**SIZES, "z_dim": 512, "w_dim": 512}
"""Arguments that our networks take too, and what they are where a file leaves them out."""
FIXED: Mapping[str, tuple[Any, ...]] = {
    "c_dim": (0,), "img_channels": (3,), "activation": ("lrelu",), "use_noise": (True,), "lr_multiplier": (0.01,),
    "mbstd_num_channels": (1,),
}  # fmt: skip
"""What our networks cannot vary: arguments, where given, and their values."""


def modules(content: Any) -> dict[str, ModuleRecord]:
    """The persistent modules of a file by name (G, D, G_ema, ...); a bare module is taken for G_ema."""
    if type(content) is ModuleRecord:
        return {"G_ema": content}
    if type(content) is not dict:
        return {}
    return {name: value for name, value in content.items() if type(value) is ModuleRecord and type(name) is str}


def generator(record: ModuleRecord) -> Generator:
    """A Generator of class StyleGAN2; InputRefused where it is another network or one we cannot draw with."""
    state = _state(record)
    if record.class_name != "Generator" or "synthesis.b4.const" not in state:
        raise InputRefused(_other_class(record, state))
    arguments = _arguments(record, GENERATOR_ARGUMENTS)
    mapping, synthesis = (_dict(arguments.pop(f"{part}_kwargs", {})) for part in ("mapping", "synthesis"))
    _check_fixed({**arguments, **mapping, **synthesis}, "skip")
    given = {**arguments, **synthesis}
    sizes = {name: given.get(name, default) for name, default in GENERATOR_SIZES.items()}
    sizes["mapping_layers"] = mapping.get("num_layers", 8)
    sizes["conv_clamp"] = _clamp(_submodule(record, "synthesis", "b4", "conv1"), given)
    config = config_from(GeneratorConfig, sizes)
    if mapping.get("layer_features") not in (None, config.w_dim):
        raise InputRefused("its mapping layers have a width of their own")
    return filled(lambda: Generator(config), state)


def discriminator(record: ModuleRecord) -> tuple[Discriminator, tuple[str, ...]]:
    """A Discriminator of class StyleGAN2 and notes on it.

    Where its minibatch statistic takes the whole batch, as files converted from TensorFlow say, it gets groups of 4:
    NVIDIA's own fine-tuning builds the network anew with them.
    """
    if record.class_name != "Discriminator":
        raise InputRefused(f"its D is a {shown(record.class_name)}")
    arguments = _arguments(record, DISCRIMINATOR_ARGUMENTS)
    block, epilogue = (_dict(arguments.pop(f"{part}_kwargs", {})) for part in ("block", "epilogue"))
    _check_fixed({**arguments, **block, **epilogue}, "resnet")
    sizes = {name: arguments.get(name, default) for name, default in SIZES.items()}
    group = epilogue.get("mbstd_group_size", GROUP)
    whole_batch = group is None
    sizes["mbstd_group_size"] = GROUP if whole_batch else group
    sizes["conv_clamp"] = _clamp(_submodule(record, "b4", "conv"), arguments)
    config = config_from(DiscriminatorConfig, sizes)
    return filled(lambda: Discriminator(config), _state(record)), (REGROUPED,) if whole_batch else ()


def _state(record: ModuleRecord) -> dict[str, LazyTensor]:
    """Parameters and persistent buffers of a module and all below it, under torch's names."""
    found: dict[str, LazyTensor] = {}
    waiting, entries = [("", record, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        entries += 1 + sum(len(_dict(module.state.get(part, {}))) for part in PARTS)
        if entries > MAX_TENSORS or depth > MAX_DEPTH:
            raise InputRefused("damaged: modules inside of modules without end")
        found |= {prefix + name: tensor for name, tensor in _own_tensors(module).items()}
        waiting += [(f"{prefix}{name}.", child, depth + 1) for name, child in _children(module).items()]
    return found


def _own_tensors(module: ModuleRecord) -> dict[str, LazyTensor]:
    """Parameters and buffers, of which a frozen discriminator has more, without those that are not kept."""
    both = {**_dict(module.state.get("_parameters", {})), **_dict(module.state.get("_buffers", {}))}
    passing = module.state.get("_non_persistent_buffers_set", set())
    if type(passing) not in (set, frozenset):
        raise InputRefused("damaged: a set of buffers that is none")
    kept = {name: value for name, value in both.items() if value is not None and name not in passing}
    if not all(type(name) is str and type(value) is LazyTensor for name, value in kept.items()):
        raise InputRefused("damaged: a parameter that is no tensor")
    return kept


def _children(module: ModuleRecord) -> dict[str, ModuleRecord]:
    children = {name: child for name, child in _dict(module.state.get("_modules", {})).items() if child is not None}
    if not all(type(name) is str and type(child) is ModuleRecord for name, child in children.items()):
        raise InputRefused("holds a module of a class that NVIDIA's files have not")
    return children


def _submodule(record: ModuleRecord, *names: str) -> ModuleRecord | None:
    for name in names:
        child = _children(record).get(name)
        if child is None:
            return None
        record = child
    return record


def _arguments(record: ModuleRecord, names: tuple[str, ...]) -> dict[str, Any]:
    """What the module was made with, by name."""
    positional = record.state.get("_init_args", ())
    if type(positional) is not tuple or len(positional) > len(names):
        raise InputRefused("damaged: its arguments are no arguments")
    return {**dict(zip(names, positional, strict=False)), **_dict(record.state.get("_init_kwargs", {}))}


def _dict(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise InputRefused(f"damaged: {shown(value)} in place of a dict")
    return value


def _check_fixed(arguments: Mapping[str, Any], architecture: str) -> None:
    """Raise InputRefused where an argument asks for what our networks do not do."""
    for name, values in {**FIXED, "architecture": (architecture,)}.items():
        value = arguments.get(name, values[0])
        if type(value) not in (int, float, bool, str) or value not in values:
            raise InputRefused(f"a StyleGAN2 whose {name} is not {values[0]}, which refacer does not draw")


def _clamp(layer: ModuleRecord | None, arguments: Mapping[str, Any]) -> Any:
    """conv_clamp as the built layer has it, since the default differs between NVIDIA's repositories."""
    value = arguments.get("conv_clamp")
    return value if layer is None else layer.state.get("conv_clamp", value)


def _other_class(record: ModuleRecord, state: Mapping[str, Any]) -> str:
    if any(name.startswith("synthesis.input.") for name in state):
        return "a StyleGAN3 generator; refacer draws with StyleGAN2: get a stylegan2-*.pkl"
    return f"its G_ema is a {shown(record.class_name)}, not StyleGAN2's Generator"
