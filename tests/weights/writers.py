"""Weight files in the containers of others, written from their descriptions: what the readers are tested with.

A file may mention names that no module here has (`Name`) and calls of them (`Call`), harmless or not.
"""

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from refacer.networks.encoders import EncoderConfig, FaceEncoder
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.stylegan2.ops import setup_filter
from refacer.options import EncoderName
from refacer.weights.formats.encoders import TYPES
from refacer.weights.formats.rosinality import layout

SOURCE = "raise SystemExit('this source must never run')\n"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@dataclass(frozen=True)
class Name:
    """A global."""

    module: str
    name: str


@dataclass
class Call:
    """A global called with arguments (REDUCE, or NEWOBJ), then filled with items and given a state."""

    name: Any
    arguments: tuple
    items: dict | None = None
    state: Any = None
    new: bool = False


@dataclass
class Fill:
    """A dict that was written before, and what is put into it now; stands for the dict."""

    target: dict
    items: dict


@dataclass
class Reference:
    """A persistent id."""

    value: tuple


PythonsPickler: Any = pickle._Pickler  # type: ignore[attr-defined]  # the one that can be taught new types


class Writer(PythonsPickler):
    """A pickler that writes names without looking them up."""

    dispatch: ClassVar[dict[type, Any]] = dict(PythonsPickler.dispatch)

    def persistent_id(self, obj):
        return obj.value if isinstance(obj, Reference) else None

    def save_name(self, obj):
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def save_call(self, obj):
        self.save(obj.name)
        self.save(obj.arguments)
        self.write(pickle.NEWOBJ if obj.new and self.proto >= 2 else pickle.REDUCE)
        self.memoize(obj)
        if obj.items is not None:
            self._batch_setitems(obj.items.items())
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    def save_fill(self, obj):
        self.save(obj.target)
        self._batch_setitems(obj.items.items())

    dispatch[Name], dispatch[Call], dispatch[Fill] = save_name, save_call, save_fill


def pickled(value: Any, protocol: int = 4) -> bytes:
    """A plain pickle."""
    file = io.BytesIO()
    Writer(file, protocol).dump(value)
    return file.getvalue()


def storage_blob(tensor: Tensor, kind: Any = None, object_: Any = None) -> bytes:
    """A storage as torch puts it into other pickles: the legacy format in a bytes object."""
    kind = kind or Name("torch", {torch.float16: "HalfStorage"}.get(tensor.dtype, "FloatStorage"))
    reference = Reference(("storage", kind, "1", "cpu", tensor.numel(), None))
    parts = (MAGIC, PROTOCOL, SYSTEM, reference if object_ is None else object_, ["1"])
    return b"".join(pickled(part, 2) for part in parts) + struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes()


def tensor_call(tensor: Tensor, blob: bytes | None = None) -> Call:
    """A tensor in a pickle."""
    tensor = tensor.detach().contiguous()
    storage = Call(Name("torch.storage", "_load_from_bytes"), (blob or storage_blob(tensor),))
    arguments = (storage, 0, tuple(tensor.shape), tensor.stride(), False, OrderedDict())
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)


def easy_dict(values: dict, protocol: int = 4) -> Call:
    """NVIDIA's dict with attributes."""
    kind = Name("dnnlib.util", "EasyDict")
    if protocol >= 2:
        return Call(kind, (), dict(values), new=True)
    return Call(Name("copy_reg", "_reconstructor"), (kind, Name("__builtin__", "dict"), dict(values)))


def persistent(
    module: nn.Module, class_name: str, kwargs: dict, protocol: int = 4, source: str = SOURCE, **changed: Any
) -> Call:
    """A module as torch_utils.persistence reduces it; `changed` replaces entries of its state."""
    parameters = {
        name: Call(Name("torch._utils", "_rebuild_parameter"), (tensor_call(p), True, OrderedDict()))
        for name, p in module.named_parameters(recurse=False)
    }
    buffers = {name: tensor_call(b) for name, b in module.named_buffers(recurse=False)}
    children = {
        name: persistent(child, type(child).__name__, {}, protocol, source)
        for name, child in module.named_children()
        if any(True for _ in child.state_dict())
    }
    state = {
        "training": False, "_parameters": OrderedDict(parameters), "_buffers": OrderedDict(buffers),
        "_non_persistent_buffers_set": set(), "_forward_hooks": OrderedDict(), "_key_of_a_newer_torch": None,
        "_modules": OrderedDict(children), "act_gain": np.float64(2**0.5), "conv_clamp": getattr(module, "clamp", None),
        "_init_args": (), "_init_kwargs": easy_dict(kwargs, protocol), **changed,
    }  # fmt: skip
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def generator_kwargs(config: GeneratorConfig, flat: bool = False) -> dict:
    """The arguments of a Generator: nested as in stylegan2-ada-pytorch, or flat as in the stylegan3 repository."""
    synthesis = {"channel_base": config.channel_base, "channel_max": config.channel_max, "num_fp16_res": 4}
    nested = synthesis if flat else {"synthesis_kwargs": {**synthesis, "conv_clamp": config.conv_clamp}}
    return {
        "z_dim": config.z_dim, "c_dim": 0, "w_dim": config.w_dim, "img_resolution": config.img_resolution,
        "img_channels": 3, "mapping_kwargs": {"num_layers": config.mapping_layers}, **nested,
    }  # fmt: skip


def discriminator_kwargs(config: DiscriminatorConfig) -> dict:
    """The arguments of a Discriminator."""
    return {
        "c_dim": 0, "img_resolution": config.img_resolution, "img_channels": 3, "architecture": "resnet",
        "channel_base": config.channel_base, "channel_max": config.channel_max, "conv_clamp": config.conv_clamp,
        "block_kwargs": {}, "mapping_kwargs": {}, "epilogue_kwargs": {"mbstd_group_size": config.mbstd_group_size},
    }  # fmt: skip


def snapshot(generator: Generator, discriminator: Discriminator | None = None, protocol: int = 4, **changed) -> bytes:
    """A training snapshot of NVIDIA's; `changed` replaces entries."""
    made = persistent(generator, "Generator", generator_kwargs(generator.config), protocol)
    content: dict[str, Any] = {"training_set_kwargs": easy_dict({"path": "x.zip"}, protocol), "G": None, "G_ema": made}
    if discriminator is not None:
        content["D"] = persistent(discriminator, "Discriminator", discriminator_kwargs(discriminator.config), protocol)
    return pickled({**content, "augment_pipe": None, **changed}, protocol)


def rosinality(generator: Generator, discriminator: Discriminator | None = None) -> dict[str, Any]:
    """The content of a rosinality checkpoint, with the kernels that it also keeps."""
    state = layout(generator)
    average = state.pop("latent_avg")
    kernels = {f"convs.{i}.conv.blur.kernel": 4 * setup_filter() for i in range(0, 2, 2)}
    content: dict[str, Any] = {"g_ema": {**state, **kernels}, "latent_avg": average}
    return content if discriminator is None else {**content, "d": layout(discriminator)}


def torch_file(content: Any, legacy: bool = False) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def jittor_file(state: dict[str, np.ndarray]) -> bytes:
    """A state as Jittor saves it: a pickle, its sha1, a tag."""
    data = pickle.dumps(state, 4)
    return data + hashlib.sha1(data).digest() + b"HCAJSLHD"


def encoder(kind: EncoderName, generator: Generator, opts: Callable[..., Any] = dict, **changes: Any) -> dict[str, Any]:
    """The content of an encoder's checkpoint: encoder, decoder, options, average code. Its widths are tiny."""
    torch.manual_seed(0)
    codes = generator.num_ws, generator.w_dim
    config = EncoderConfig(kind, *codes, 64, (1, 2, 1, 1), (8, 16, 24, 32), 8, coarse=2, fine=4)
    state = FaceEncoder(config).state_dict()
    decoder = {f"decoder.{k}": v for k, v in rosinality(generator)["g_ema"].items()}
    named = {kind: name for name, kind in reversed(TYPES.items())}
    options = {
        "encoder_type": named[kind],
        "output_size": generator.img_resolution,
        "exp_dir": "/home/someone/x",
        "device": None,
        **changes,
    }
    del state["latent_avg"]
    average = generator.mapping.w_avg.repeat(generator.num_ws, 1)
    return {"state_dict": {**state, **decoder}, "opts": opts(**options), "latent_avg": average}
