"""rosinality's layout of StyleGAN2's states, both ways.

The numbers are the same in both layouts; names differ, and so do axes of length 1. The two agree in their pictures up
to the demodulation's epsilon, which rosinality adds after scaling the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from refacer.errors import InputRefused
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.stylegan2.ops import setup_filter
from refacer.weights.formats.bounded import shown
from refacer.weights.formats.inert import LazyTensor
from refacer.weights.formats.states import LazyState, config_from, filled_with, read_state, shapes_of

MAX_BLOCKS = 16
AVERAGE_SAMPLES = 10_000  # of w, where a file does not bring its average, as the published projector takes them
DERIVED_SEED = 123
FILTER = "resample_filter"

NO_NOISE = "its noise maps are not in the file; random ones stand in (seed 123)"
NO_AVERAGE = "its average code is not in the file; it was computed from 10,000 codes (seed 123)"


def is_generator(state: LazyState) -> bool:
    """Whether a state is a generator in this layout."""
    return {"style.1.weight", "input.input", "conv1.conv.weight", "to_rgb1.conv.weight"} <= state.keys()


def generator(state: LazyState, latent_avg: LazyTensor | None) -> tuple[Generator, tuple[str, ...]]:
    """Our generator and what had to be derived. Raises InputRefused."""
    config = _generator_config(state)
    names = generator_names(config)
    expected = shapes_of(lambda: Generator(config))
    _require_known(state, names)
    present = {ours: theirs for ours, theirs in names.items() if theirs in state}
    tensors = _renamed(state, present, expected)
    _check_kernel(state)
    tensors |= {name: setup_filter() for name in expected if name.endswith(FILTER)}
    notes = _fill_noise(tensors, expected)
    average = None if latent_avg is None else read_state({"latent_avg": latent_avg})["latent_avg"]
    tensors["mapping.w_avg"] = torch.zeros(config.w_dim) if average is None else _one_average(average, config.w_dim)
    _require(tensors, expected)
    made = filled_with(lambda: Generator(config), tensors)
    if average is None:
        made.mapping.w_avg.copy_(_mean_w(made))
        notes += (NO_AVERAGE,)
    return made, notes


def discriminator(state: LazyState, like: GeneratorConfig) -> Discriminator:
    """Our discriminator of the generator's sizes. Raises InputRefused."""
    config = DiscriminatorConfig(
        img_resolution=like.img_resolution, channel_base=like.channel_base, channel_max=like.channel_max
    )
    expected = shapes_of(lambda: Discriminator(config))
    names = discriminator_names(config)
    _require_known(state, names)
    tensors = _renamed(state, {ours: theirs for ours, theirs in names.items() if theirs in state}, expected)
    tensors |= {name: setup_filter() for name in expected if name.endswith(FILTER)}
    _require(tensors, expected)
    return filled_with(lambda: Discriminator(config), tensors)


def layout(module: Generator | Discriminator) -> dict[str, Tensor]:
    """A network's state in rosinality's layout, without the kernels that follow from it; w_avg is `latent_avg`."""
    ours = module.state_dict()
    if isinstance(module, Generator):
        named = {theirs: ours[name] for name, theirs in generator_names(module.config).items()}
        return {name: tensor.reshape(_their_shape(name, tensor)) for name, tensor in named.items()} | {
            "latent_avg": ours["mapping.w_avg"]
        }
    return {theirs: ours[name] for name, theirs in discriminator_names(module.config).items()}


def generator_names(config: GeneratorConfig) -> dict[str, str]:
    """NVIDIA's name of each tensor of a generator -> rosinality's."""
    names = {"synthesis.b4.const": "input.input"}
    for i in range(config.mapping_layers):
        names |= {f"mapping.fc{i}.{part}": f"style.{i + 1}.{part}" for part in ("weight", "bias")}
    for i, resolution in enumerate(config.resolutions):
        block = f"synthesis.b{resolution}"
        if i:
            names |= _layer_names(f"{block}.conv0", f"convs.{2 * i - 2}", f"noises.noise_{2 * i - 1}")
        names |= _layer_names(f"{block}.conv1", f"convs.{2 * i - 1}" if i else "conv1", f"noises.noise_{2 * i}")
        names |= _rgb_names(f"{block}.torgb", f"to_rgbs.{i - 1}" if i else "to_rgb1")
    return names


def discriminator_names(config: DiscriminatorConfig) -> dict[str, str]:
    """The same of a discriminator."""
    first = f"b{config.img_resolution}.fromrgb"
    names = {f"{first}.weight": "convs.0.0.weight", f"{first}.bias": "convs.0.1.bias"}
    for j, resolution in enumerate(config.resolutions[:0:-1], start=1):
        ours, theirs = f"b{resolution}", f"convs.{j}"
        names |= {
            f"{ours}.conv0.weight": f"{theirs}.conv1.0.weight", f"{ours}.conv0.bias": f"{theirs}.conv1.1.bias",
            f"{ours}.conv1.weight": f"{theirs}.conv2.1.weight", f"{ours}.conv1.bias": f"{theirs}.conv2.2.bias",
            f"{ours}.skip.weight": f"{theirs}.skip.1.weight",
        }  # fmt: skip
    last = {"conv.weight": "final_conv.0.weight", "conv.bias": "final_conv.1.bias"}
    for ours, theirs in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        last |= {f"{ours}.{part}": f"{theirs}.{part}" for part in ("weight", "bias")}
    return names | {f"b4.{ours}": theirs for ours, theirs in last.items()}


def _layer_names(ours: str, theirs: str, noise: str) -> dict[str, str]:
    return {
        f"{ours}.weight": f"{theirs}.conv.weight", f"{ours}.bias": f"{theirs}.activate.bias",
        f"{ours}.affine.weight": f"{theirs}.conv.modulation.weight",
        f"{ours}.affine.bias": f"{theirs}.conv.modulation.bias",
        f"{ours}.noise_strength": f"{theirs}.noise.weight", f"{ours}.noise_const": noise,
    }  # fmt: skip


def _rgb_names(ours: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.weight": f"{theirs}.conv.weight", f"{ours}.bias": f"{theirs}.bias",
        f"{ours}.affine.weight": f"{theirs}.conv.modulation.weight",
        f"{ours}.affine.bias": f"{theirs}.conv.modulation.bias",
    }  # fmt: skip


def _their_shape(name: str, tensor: Tensor) -> tuple[int, ...]:
    """The axes of length 1 that rosinality's layout has."""
    shape = tuple(tensor.shape)
    if name.startswith("noises."):
        return (1, 1, *shape)
    if re.fullmatch(r"to_rgb(1|s\.\d+)\.bias", name):
        return (1, 3, 1, 1)
    return (1, *shape) if name.endswith(("input.input", ".conv.weight", ".noise.weight")) else shape


def _renamed(state: LazyState, names: Mapping[str, str], expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read what `names` names, in our shapes; InputRefused where more than axes of length 1 differ."""
    for ours, theirs in names.items():
        if [n for n in state[theirs].shape if n != 1] != [n for n in expected[ours] if n != 1]:
            raise InputRefused(f"{theirs} has shape {state[theirs].shape}; it must hold {expected[ours]}")
    read = read_state({theirs: state[theirs] for theirs in names.values()})
    return {ours: read[theirs].reshape(expected[ours]) for ours, theirs in names.items()}


def _require_known(state: LazyState, names: Mapping[str, str]) -> None:
    """Raise InputRefused for what is neither ours nor a kernel that follows from the architecture."""
    known = set(names.values())
    foreign = [name for name in state if name not in known and not name.endswith(".kernel")]
    if foreign:
        raise InputRefused(f"{shown(foreign[0])} is not a part of StyleGAN2")


def _require(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise InputRefused(f"what becomes {missing[0]} is missing")


def _generator_config(state: LazyState) -> GeneratorConfig:
    """Sizes from the shapes: the smallest channel_base that gives every block its channels."""
    layers = sum(bool(re.fullmatch(r"style\.\d{1,2}\.weight", name)) for name in state)
    blocks = sum(bool(re.fullmatch(r"to_rgbs\.\d{1,2}\.bias", name)) for name in state)
    w_dim, z_dim = _dims(state, "style.1.weight", 2)
    if not 0 < blocks <= MAX_BLOCKS:
        raise InputRefused("a StyleGAN2 of an impossible number of layers")
    wanted = {4: _dims(state, "conv1.conv.weight", 5)[1]}
    wanted |= {8 << i: _dims(state, f"convs.{2 * i + 1}.conv.weight", 5)[1] for i in range(blocks)}
    sizes = {
        "img_resolution": 4 << blocks, "z_dim": z_dim, "w_dim": w_dim, "mapping_layers": layers,
        "channel_base": max(side * n for side, n in wanted.items()), "channel_max": max(wanted.values()),
    }  # fmt: skip
    config = config_from(GeneratorConfig, sizes)
    if any(config.channels(side) != n for side, n in wanted.items()):
        raise InputRefused("its channels do not halve from block to block")
    return config


def _dims(state: LazyState, name: str, count: int) -> tuple[int, ...]:
    if name not in state or len(state[name].shape) != count:
        raise InputRefused(f"{shown(name)} is missing or misshapen")
    return state[name].shape


def _check_kernel(state: LazyState) -> None:
    """The blur of the first upsampling must be the 4-tap filter with gain 4."""
    kernel = state.get("convs.0.conv.blur.kernel")
    if kernel is not None and (
        kernel.shape != (4, 4) or not torch.allclose(kernel.tensor().float(), 4 * setup_filter(), atol=1e-4)
    ):
        raise InputRefused("its blur is not StyleGAN2's")


def _fill_noise(tensors: dict[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Random noise maps where a file brings none, as old ones and encoders' decoders do."""
    source = torch.Generator().manual_seed(DERIVED_SEED)
    missing = [name for name in expected if name.endswith("noise_const") and name not in tensors]
    tensors |= {name: torch.randn(expected[name], generator=source) for name in missing}
    return (NO_NOISE,) if missing else ()


def _one_average(average: Tensor, w_dim: int) -> Tensor:
    """latent_avg (w_dim,), or (num_ws, w_dim) as encoders keep it: one code, repeated."""
    rows = average.reshape(-1, w_dim) if average.ndim in (1, 2) and average.shape[-1] == w_dim else None
    if rows is None:
        raise InputRefused(f"its latent_avg has shape {tuple(average.shape)}")
    return rows.mean(0) if len(rows) > 1 else rows[0].clone()


def _mean_w(made: Generator) -> Tensor:
    """The mean of w over N(0, 1) codes."""
    source = torch.Generator().manual_seed(DERIVED_SEED)
    z = torch.randn(AVERAGE_SAMPLES, made.z_dim, generator=source)
    parts: list[Tensor] = [made.mapping(part)[:, 0].sum(0) for part in z.split(1000)]
    return torch.stack(parts).sum(0) / AVERAGE_SAMPLES
