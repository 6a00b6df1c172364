"""HyperStyle (Alaluf et al. 2022, arXiv:2111.15666): one code of W a face, and changes of the generator's weights.

A hypernetwork sees the face beside the picture that the generator draws now and says by which share each weight should
change; it looks a few times, and its answers add up. Attribute names are the published states', but that the weights
that nine of its blocks share are stored once, as `hypernet.shared_weight_hypernet`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from refacer.errors import ShapeMismatch
from refacer.images.resampling import resized
from refacer.networks.efficientnet import TAP_WIDTHS, LookingThrough
from refacer.networks.encoders import EqualLinear, StyleHead
from refacer.networks.irse import body, input_layer
from refacer.networks.stylegan2.config import GeneratorConfig
from refacer.networks.stylegan2.networks import Generator
from refacer.options import GeneratorRole, TrunkName

HEAD_SLOPE = 0.01
SHARED_KERNEL = 3
Shape = tuple[int, int]


@dataclass(frozen=True)
class HyperConfig:
    """Sizes; the defaults are the published ones.

    layers: (outputs, inputs) of each weight that changes, by its place among the generator's layers (`layer_names`).
    input_px: side at which pictures are seen. shared: channels of the layers whose kernels the shared block makes;
    code: numbers from which it makes one, 0 for as many. into: the generator of a pair whose weights change. trunk:
    another than their own in place of both networks' bodies.
    encoder_units, encoder_widths: of the W encoder's trunk; units, widths: of the hypernetwork's. inner, inner_shared:
    channels of the blocks. passes: how often it looks.
    """

    num_ws: int
    w_dim: int
    layers: dict[int, Shape]
    input_px: int = 256
    shared: int = 512
    encoder_units: tuple[int, ...] = (3, 4, 14, 3)
    encoder_widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    inner: int = 256
    inner_shared: int = 128
    passes: int = 5
    code: int = 0
    into: GeneratorRole = "real"
    trunk: TrunkName = "own"

    @property
    def borrows_trunk(self) -> bool:
        """Whether it looks through EfficientNet-Lite0."""
        return self.trunk != "own"

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which it can be made again."""
        layers = {str(index): list(shape) for index, shape in self.layers.items()}
        return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self).items()} | {"layers": layers}

    def is_shared(self, index: int) -> bool:
        """Whether the shared block makes a layer's kernel."""
        return self.layers[index] == (self.shared, self.shared)

    @property
    def code_width(self) -> int:
        """Numbers from which the shared block makes a kernel; channels before a layer's own answer, too."""
        return self.code or self.shared

    @property
    def map_px(self) -> int:
        """Side of the hypernetwork's last map."""
        return self.input_px // 2 ** len(self.widths)


def hyper_config_for(
    generator: GeneratorConfig, into: GeneratorRole, *, full: bool, trunk: TrunkName = "own"
) -> HyperConfig:
    """HyperStyle for a generator: at the published sizes, or for a pair to carry, 8.7 million values for the studio's.

    All 3x3 convolutions change, those of the commonest size by the shared block. ToRGB does not, as published; it is
    what both generators of a pair have in common.
    """
    layers, place = {}, 0
    for resolution in generator.resolutions:
        outputs = generator.channels(resolution)
        convs = (outputs,) if resolution == 4 else (generator.channels(resolution // 2), outputs)
        layers |= {place + i: (outputs, inputs) for i, inputs in enumerate(convs)}
        place += len(convs) + 1  # ToRGB
    square = [shape for shape in layers.values() if shape[0] == shape[1]]
    published = HyperConfig(
        generator.num_ws, generator.w_dim, layers, shared=max(square, key=square.count)[0], into=into, trunk=trunk
    )
    if full:
        return replace(published, code=published.shared)
    units, widths = (2, 2, 2, 2), (16, 32, 64, 128)
    return replace(
        published, input_px=min(128, max(32, generator.img_resolution)), encoder_units=units, encoder_widths=widths,
        units=units, widths=widths, inner=64, inner_shared=64, passes=3, code=min(64, generator.w_dim),
    )  # fmt: skip


def layer_names(config: GeneratorConfig) -> list[str]:
    """The generator's weights in the order that HyperStyle counts."""
    names = []
    for resolution in config.resolutions:
        convs = ("conv1",) if resolution == 4 else ("conv0", "conv1")
        names += [f"synthesis.b{resolution}.{layer}.weight" for layer in (*convs, "torgb")]
    return names


class HyperStyle(nn.Module):
    """Faces to codes and weight offsets."""

    latent_avg: Tensor

    def __init__(self, config: HyperConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = (LookingCodeEncoder if config.borrows_trunk else SingleCodeEncoder)(config)
        self.hypernet = (LookingHyperNetwork if config.borrows_trunk else HyperNetwork)(config)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def silence(self) -> None:
        """Make every answer 0."""
        for last in (self.encoder.linear.weight, *self.hypernet.last_layers()):
            nn.init.zeros_(last)

    def codes(self, faces: Tensor) -> Tensor:
        """The same code for every layer: (N, 3, S, S) in [-1, 1] to (N, num_ws, w_dim)."""
        code = self.encoder(resized(faces.float(), self.config.input_px))
        return self.latent_avg + code[:, None]

    def shares(self, faces: Tensor, drawn: Tensor) -> dict[int, Tensor]:
        """By what share each weight should change, (N, out, in, k, k) or (N, out, in, 1, 1), by the layer's place."""
        side = self.config.input_px
        return self.hypernet(torch.cat([resized(faces.float(), side), resized(drawn, side)], 1))

    def check(self, generator: Generator) -> None:
        """Raise ShapeMismatch unless codes and weights are the generator's."""
        ours, theirs = tuple(self.latent_avg.shape), (generator.num_ws, generator.w_dim)
        names, state = layer_names(generator.config), generator.state_dict()
        fit = all(
            index < len(names) and tuple(state[names[index]].shape[:2]) == shape
            for index, shape in self.config.layers.items()
        )
        if ours != theirs or not fit:
            raise ShapeMismatch("HyperStyle's network is another generator's; its codes or layers have other sizes")


class SingleCodeEncoder(nn.Module):
    """The trunk of the other encoders, and the mean of its last map as one code of W: (N, 3, P, P) to (N, w_dim)."""

    def __init__(self, config: HyperConfig) -> None:
        super().__init__()
        self.input_layer = input_layer(3, config.encoder_widths[0])
        self.body = body(config.encoder_units, config.encoder_widths, squeezed=True)
        self.linear = EqualLinear(config.encoder_widths[-1], config.w_dim)

    def forward(self, faces: Tensor) -> Tensor:
        """An offset from the average code."""
        return self.linear(self.body(self.input_layer(faces)).mean((2, 3)))


class LookingCodeEncoder(LookingThrough, nn.Module):
    """The same over EfficientNet-Lite0, whose last map goes through a style head, for it does not learn itself."""

    def __init__(self, config: HyperConfig) -> None:
        super().__init__()
        width, scale = TAP_WIDTHS[-1]
        self.norm = nn.BatchNorm2d(width)
        self.convs = StyleHead(width, width, config.input_px // scale)
        self.linear = EqualLinear(width, config.w_dim)

    def forward(self, faces: Tensor) -> Tensor:
        """An offset from the average code."""
        return self.linear(self.convs(self.norm(self.taps(faces)[-1])))


class HyperNetwork(nn.Module):
    """A ResNet-34 without its pooling, and a block for each weight that changes."""

    def __init__(self, config: HyperConfig) -> None:
        super().__init__()
        self.config = config
        self._grow_trunk(config)
        self.shared_weight_hypernet = SharedKernels(config.shared, config.code_width)
        self.refinement_blocks = nn.ModuleDict()
        for index, shape in config.layers.items():
            block = SharedHead(config) if config.is_shared(index) else OwnHead(config, shape)
            self.refinement_blocks[str(index)] = block

    def _grow_trunk(self, config: HyperConfig) -> None:
        """Make what looks at the pictures."""
        first = config.widths[0]
        self.conv1 = nn.Conv2d(6, first, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.PReLU(first)
        inputs, blocks = first, []
        for stage, (count, width) in enumerate(zip(config.units, config.widths, strict=True)):
            for unit in range(count):
                blocks.append(BasicBlock(inputs, width, 2 if stage and not unit else 1))
                inputs = width
        self.body = nn.Sequential(*blocks)

    def _looked(self, images: Tensor) -> Tensor:
        """(N, 6, P, P) to the map (N, C, S, S) that all blocks read."""
        return self.body(self.relu(self.bn1(self.conv1(images))))

    def last_layers(self) -> list[nn.Parameter]:
        """The parameters that are 0 where it changes nothing."""
        shared = self.shared_weight_hypernet
        own = [block.output[1] for block in self.refinement_blocks.values() if isinstance(block, OwnHead)]
        return [shared.w1, shared.b1, *(parameter for layer in own for parameter in layer.parameters())]

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """The face beside the last picture, (N, 6, P, P), to the shares by the layer's place."""
        features = self._looked(images)
        found = {}
        for index in self.config.layers:
            answer = self.refinement_blocks[str(index)](features)
            found[index] = self.shared_weight_hypernet(answer) if self.config.is_shared(index) else answer
        return found


class LookingHyperNetwork(LookingThrough, HyperNetwork):
    """The same blocks over EfficientNet-Lite0, which sees each of the two pictures by itself."""

    def _grow_trunk(self, config: HyperConfig) -> None:
        """See the class above."""
        width = 2 * TAP_WIDTHS[-1][0]
        self.norm = nn.BatchNorm2d(width)
        self.top = nn.Conv2d(width, config.widths[-1], 1)

    def _looked(self, images: Tensor) -> Tensor:
        """See the class above."""
        return self.top(self.norm(torch.cat([self.taps(picture)[-1] for picture in images.split(3, 1)], 1)))


class BasicBlock(nn.Module):
    """He et al. 2016: two convolutions and a shortcut, (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class SharedHead(nn.Module):
    """A map to the code (N, code) from which the shared weights make a kernel."""

    def __init__(self, config: HyperConfig) -> None:
        super().__init__()
        inner, halvings = config.inner_shared, int(math.log2(config.map_px))
        widths = (inner,) * halvings + (config.code_width,)
        self.convs = _convolutions(config.widths[-1], widths, first_stride=1)
        self.linear = EqualLinear(config.code_width, config.code_width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) to (N, code)."""
        return self.linear(self.convs(x).flatten(1))


class OwnHead(nn.Module):
    """A map to one share for each kernel of a layer, (N, out, in, 1, 1)."""

    def __init__(self, config: HyperConfig, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        halvings = max(1, int(math.log2(config.map_px)) - 1)
        widths = (config.inner,) * (halvings - 1) + (config.code_width,)
        self.convs = _convolutions(config.widths[-1], widths, first_stride=2)
        self.output = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(config.code_width, shape[0] * shape[1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) to (N, out, in, 1, 1)."""
        return self.output(self.convs(x)).view(-1, *self.shape, 1, 1)


class SharedKernels(nn.Module):
    """Codes (N, code) to kernels (N, width, width, 3, 3), by two matrices (Ha et al. 2017)."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.width, self.code = width, code
        self.w1 = nn.Parameter(torch.randn(code, width * SHARED_KERNEL**2) / 40)
        self.b1 = nn.Parameter(torch.randn(width * SHARED_KERNEL**2) / 40)
        self.w2 = nn.Parameter(torch.randn(code, width * code) / 40)
        self.b2 = nn.Parameter(torch.randn(width * code) / 40)

    def forward(self, codes: Tensor) -> Tensor:
        """The published network reads the result's numbers as (out, in, 3, 3) in the order in which they lie."""
        rows = (codes @ self.w2 + self.b2).view(-1, self.width, self.code)
        return (rows @ self.w1 + self.b1).view(-1, self.width, self.width, SHARED_KERNEL, SHARED_KERNEL)


def _convolutions(inputs: int, widths: tuple[int, ...], *, first_stride: int) -> nn.Sequential:
    """3x3 convolutions of these widths with leaky ReLUs, of stride 2 but perhaps the first one."""
    layers: list[nn.Module] = []
    for place, width in enumerate(widths):
        layers += [nn.Conv2d(inputs, width, 3, 2 if place else first_stride, 1), nn.LeakyReLU(HEAD_SLOPE)]
        inputs = width
    return nn.Sequential(*layers)
