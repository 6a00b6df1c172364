"""The other public networks: which state dict is whose, told by its names and checked by its shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from refacer.errors import InputRefused
from refacer.weights.formats import clip
from refacer.weights.formats.states import LazyState, Shapes, require, shapes_of

IR_STAGES = {"ir_se50": (3, 4, 14, 3), "curricularface": (3, 13, 30, 3)}  # IR-50 and IR-101
IR_WIDTHS = (64, 128, 256, 512)
SE_REDUCTION = 16
EMBEDDING = 512
INCEPTION_CONVOLUTIONS = 94

Check = Callable[[LazyState], dict[str, Any]]


@dataclass(frozen=True)
class Known:
    """A public network.

    marker: a tensor that tells it from the others.
    check: raises InputRefused unless a state is this network's; returns what else is known of it.
    """

    kind: str
    marker: str
    check: Check


def recognise(state: LazyState) -> tuple[str, dict[str, Any]] | None:
    """Kind and configuration of a state; None where it is none of these, InputRefused where it is a misshapen one."""
    for network in NETWORKS:
        if network.marker in state:
            try:
                return network.kind, network.check(state)
            except InputRefused as error:
                raise InputRefused(f"looks like {network.kind}, but {error}") from error
    return None


def _like(build: Callable[[], nn.Module]) -> Check:
    """A check against the network itself."""

    def check(state: LazyState) -> dict[str, Any]:
        require(state, shapes_of(build))
        return {}

    return check


def _bisenet() -> nn.Module:
    from facexlib.parsing.bisenet import BiSeNet  # here and below: imported only where such a file is met

    from refacer.networks.parser import NUM_CLASSES

    return BiSeNet(NUM_CLASSES)


def _parsenet() -> nn.Module:
    from facexlib.parsing.parsenet import ParseNet

    from refacer.networks.parser import NUM_CLASSES, PUBLISHED_PX

    return ParseNet(in_size=PUBLISHED_PX, out_size=PUBLISHED_PX, parsing_ch=NUM_CLASSES)


def _sketch() -> nn.Module:
    from refacer.networks.sketch import DeepFaceSketch

    return DeepFaceSketch()


def _vgg16() -> nn.Module:
    from torchvision.models import vgg16

    return vgg16(weights=None)


def _alexnet() -> nn.Module:
    from torchvision.models import alexnet

    return alexnet(weights=None)


def _check_retinaface(state: LazyState) -> dict[str, Any]:
    from refacer.networks.landmarks import retinaface_network

    network = "mobile0.25" if "body.stage1.0.0.weight" in state else "resnet50"
    require(state, shapes_of(lambda: retinaface_network(network, "meta")))
    return {"network": network}


def _check_inception(state: LazyState) -> dict[str, Any]:
    """FID's Inception, by its convolutions and its head of 1008 classes."""
    convolutions = sum(name.endswith(".conv.weight") for name in state)
    head = state["fc.weight"].shape if "fc.weight" in state else ()
    if convolutions != INCEPTION_CONVOLUTIONS or head != (1008, 2048):
        raise InputRefused("it is not the one that FID is computed with")
    return {}


def _check_clip(state: LazyState) -> dict[str, Any]:
    return asdict(clip.network_config(clip.own_state(state)))


def _check_ir(kind: str) -> Check:
    def check(state: LazyState) -> dict[str, Any]:
        require(state, ir_shapes(kind))
        return {}

    return check


def ir_shapes(kind: str) -> Shapes:
    """Names and shapes of ArcFace's improved ResNets: IR-50 with squeeze and excitation, IR-101 without."""
    squeezed = kind == "ir_se50"
    shapes: dict[str, tuple[int, ...]] = {"input_layer.0.weight": (64, 3, 3, 3), "input_layer.2.weight": (64,)}
    shapes |= _batch_norm("input_layer.1", 64)
    unit, inputs = 0, IR_WIDTHS[0]
    for units, width in zip(IR_STAGES[kind], IR_WIDTHS, strict=True):
        for _ in range(units):
            shapes |= _ir_unit(f"body.{unit}", inputs, width, squeezed)
            unit, inputs = unit + 1, width
    shapes |= _batch_norm("output_layer.0", EMBEDDING)
    shapes |= {"output_layer.3.weight": (EMBEDDING, EMBEDDING * 49), "output_layer.3.bias": (EMBEDDING,)}
    return shapes | _batch_norm("output_layer.4", EMBEDDING, affine=squeezed)


def _ir_unit(name: str, inputs: int, width: int, squeezed: bool) -> dict[str, tuple[int, ...]]:
    """Normalisation, convolution, PReLU, convolution, normalisation; a projection where the width changes."""
    residual = f"{name}.res_layer"
    shapes = {
        f"{residual}.1.weight": (width, inputs, 3, 3), f"{residual}.2.weight": (width,),
        f"{residual}.3.weight": (width, width, 3, 3),
        **_batch_norm(f"{residual}.0", inputs), **_batch_norm(f"{residual}.4", width),
    }  # fmt: skip
    if squeezed:
        narrow = width // SE_REDUCTION
        shapes |= {f"{residual}.5.fc1.weight": (narrow, width, 1, 1), f"{residual}.5.fc2.weight": (width, narrow, 1, 1)}
    if inputs != width:
        shapes |= {f"{name}.shortcut_layer.0.weight": (width, inputs, 1, 1)}
        shapes |= _batch_norm(f"{name}.shortcut_layer.1", width)
    return shapes


def _batch_norm(name: str, channels: int, affine: bool = True) -> dict[str, tuple[int, ...]]:
    parts = (*(("weight", "bias") if affine else ()), "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts}


NETWORKS = (
    Known(clip.CLIP, clip.MARKER, _check_clip),
    Known("bisenet", "cp.arm16.conv.conv.weight", _like(_bisenet)),
    Known("parsenet", "out_mask_conv.conv2d.weight", _like(_parsenet)),
    Known("retinaface", "LandmarkHead.0.conv1x1.weight", _check_retinaface),
    Known("curricularface", "body.48.res_layer.1.weight", _check_ir("curricularface")),
    Known("ir_se50", "body.0.res_layer.5.fc1.weight", _check_ir("ir_se50")),
    Known("sketch", "model.16.conv_block.0.conv.weight", _like(_sketch)),
    Known("vgg16", "features.28.weight", _like(_vgg16)),
    Known("alexnet", "features.10.weight", _like(_alexnet)),
    Known("inception", "Mixed_5b.branch1x1.conv.weight", _check_inception),
)
"""In the order in which they are tried: vgg16 has alexnet's marker too."""
