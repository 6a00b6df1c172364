"""Encoders of faces into W+: pSp, e4e and both ReStyles, at the published sizes or smaller ones, and a linear one.

One trunk (ArcFace's IR-SE50) and a head for each code of W+ serve them all. Richardson et al. 2021 (pSp,
arXiv:2008.00951): every head gives an offset from the average code. Tov et al. 2021 (e4e, arXiv:2102.02766): the first
head gives one for all layers, the others add to it. Alaluf et al. 2021 (ReStyle, arXiv:2104.02699): the network sees
the face beside its last result and corrects it, a few times. Attribute names are the published states'. Any of them may
look through EfficientNet-Lite0 instead of a trunk of its own; the linear one (`linear_styles.py`) always does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.errors import ShapeMismatch, UsageError
from refacer.images.resampling import resized
from refacer.networks.efficientnet import TAP_WIDTHS, LookingThrough
from refacer.networks.irse import body, input_layer
from refacer.networks.linear_styles import LinearStyles
from refacer.networks.stylegan2.networks import Generator
from refacer.options import GeneratorRole, PairEncoderName, TrunkName

LOOK_ONCE = ("psp", "e4e", "linear")
HEAD_SLOPE = 0.01  # of the heads' leaky ReLU
INPUT_SCALE = 2**4  # of the trunk's four stages together


@dataclass(frozen=True)
class EncoderConfig:
    """An encoder's sizes; the defaults are those published for FFHQ at 1024².

    input_px: side at which a face is seen; units, widths: of the trunk's stages; head_width: channels of the heads.
    coarse, fine: the first codes that come from the map of 1/8, and of 1/4 of the input's side; all before from 1/16.
    passes: how often ReStyle looks. into: the generator of a pair whose codes it gives. trunk: another than its own has
    sizes of its own. The linear encoder uses input_px alone, and head_width as the number of features that it keeps.
    """

    kind: PairEncoderName
    num_ws: int = 18
    w_dim: int = 512
    input_px: int = 256
    units: tuple[int, int, int, int] = (3, 4, 14, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    head_width: int = 512
    coarse: int = 3
    fine: int = 7
    passes: int = 1
    into: GeneratorRole = "real"
    trunk: TrunkName = "own"

    def __post_init__(self) -> None:
        if self.input_px < 2 * INPUT_SCALE or self.input_px & (self.input_px - 1):
            raise UsageError(f"an encoder cannot look at {self.input_px} pixels; they must be a power of 2 from 32")
        if self.kind in LOOK_ONCE and self.passes > 1:
            raise UsageError(f"{self.kind} looks once, not {self.passes} times")

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which the configuration can be made again."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def iterates(self) -> bool:
        """Whether it is a ReStyle encoder, which sees its last result beside the face."""
        return self.kind.startswith("restyle")

    @property
    def borrows_trunk(self) -> bool:
        """Whether it looks through EfficientNet-Lite0."""
        return self.kind == "linear" or self.trunk != "own"

    @property
    def has_deltas(self) -> bool:
        """Whether the heads after the first add to its code, as e4e's do."""
        return self.kind.endswith("e4e")


def compact_config(
    kind: PairEncoderName, num_ws: int, w_dim: int, resolution: int, trunk: TrunkName = "own"
) -> EncoderConfig:
    """An encoder that a pair can carry: 5 million values for the studio pair, 5.6 million for a linear one."""
    return EncoderConfig(
        kind, num_ws, w_dim, min(256, max(2 * INPUT_SCALE, resolution)), (2, 2, 4, 2), (16, 32, 80, 160),
        head_width=224 if kind == "linear" else 72 if trunk == "own" else 84,
        passes=1 if kind in LOOK_ONCE else 3, trunk=trunk,
    )  # fmt: skip


class FaceEncoder(nn.Module):
    """Faces to codes: the network and the average code that its answers are offsets from."""

    latent_avg: Tensor
    encoder: StyleEncoder | LinearStyles

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        if config.kind == "linear":
            self.encoder = LinearStyles(config.num_ws, config.w_dim, config.input_px, config.head_width)
        else:
            self.encoder = (LookingEncoder if config.borrows_trunk else StyleEncoder)(config)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def silence(self) -> None:
        """Make every answer the average code."""
        self.encoder.silence()

    def forward(self, faces: Tensor, generator: Generator) -> Tensor:
        """Codes (N, num_ws, w_dim) of faces (N, 3, S, S) in [-1, 1], after all passes.

        generator: whose codes they are; raises ShapeMismatch where it is another's.
        """
        return self.all_passes(faces, generator)[-1]

    def all_passes(self, faces: Tensor, generator: Generator) -> list[Tensor]:
        """The codes after each pass."""
        self.check(generator)
        seen = resized(faces.float(), self.config.input_px)
        codes, found = self.start(len(faces)), []
        for _ in range(self.config.passes):
            codes = codes + self.encoder(self.beside(seen, codes, generator))
            found.append(codes)
        return found

    def start(self, count: int) -> Tensor:
        """The average code, (count, num_ws, w_dim)."""
        return self.latent_avg.expand(count, -1, -1)

    def beside(self, seen: Tensor, codes: Tensor, generator: Generator) -> Tensor:
        """What the network looks at: the face as it sees it and, for ReStyle, the picture of its last codes."""
        if not self.config.iterates:
            return seen
        with torch.no_grad():
            drawn = generator.synthesis(codes.detach(), noise_mode="const")
        return torch.cat([seen, resized(drawn, self.config.input_px)], 1)

    def check(self, generator: Generator) -> None:
        """Raise ShapeMismatch unless the codes are the generator's."""
        ours, theirs = tuple(self.latent_avg.shape), (generator.num_ws, generator.w_dim)
        if ours != theirs:
            raise ShapeMismatch(f"the encoder gives codes {ours} and the generator takes {theirs}; they are no pair")


class StyleEncoder(nn.Module):
    """The trunk and the style heads: pictures (N, 3 or 6, P, P) in [-1, 1] to offsets (N, num_ws, w_dim)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        head, side = config.head_width, config.input_px
        fine, middle, coarse = self._grow_trunk(config)
        self.top = nn.Conv2d(coarse, head, 1) if coarse != head else nn.Identity()
        if not config.iterates:
            self.latlayer1 = nn.Conv2d(middle, head, 1)
            self.latlayer2 = nn.Conv2d(fine, head, 1)
        sides = [side // self._scale(i) for i in range(config.num_ws)]
        self.styles = nn.ModuleList(StyleHead(head, config.w_dim, one) for one in sides)

    def _grow_trunk(self, config: EncoderConfig) -> tuple[int, ...]:
        """Make the trunk; the channels of its maps of 1/4, 1/8 and 1/16."""
        self.input_layer = input_layer(6 if config.iterates else 3, config.widths[0])
        self.body = body(config.units, config.widths, squeezed=True)
        return config.widths[1:]

    def silence(self) -> None:
        """Make every answer 0."""
        for head in self.styles:
            nn.init.zeros_(head.get_parameter("linear.weight"))

    def forward(self, images: Tensor, deltas: int | None = None) -> Tensor:
        """deltas: how many heads add to the first one's code, where they do; None: all."""
        maps = self._maps(images)
        config = self.config
        count = config.num_ws if deltas is None or not config.has_deltas else deltas + 1
        found = [head(maps[self._scale(i)]) for i, head in enumerate(self.styles) if i < count]
        if not config.has_deltas:
            return torch.stack(found, 1)
        others = [found[i] if i < count else torch.zeros_like(found[0]) for i in range(1, config.num_ws)]
        return torch.stack([found[0], *(found[0] + other for other in others)], 1)

    def _scale(self, style: int) -> int:
        """From which map a code is read: the input's side over the map's."""
        if self.config.iterates or style < self.config.coarse:
            return 16
        return 8 if style < self.config.fine else 4

    def _maps(self, images: Tensor) -> dict[int, Tensor]:
        """The feature pyramid by scale."""
        fine, middle, coarse = self._looked(images)
        coarse = self.top(coarse)
        if self.config.iterates:
            return {16: coarse}
        middle = _enlarged(coarse, middle) + self.latlayer1(middle)
        return {16: coarse, 8: middle, 4: _enlarged(middle, fine) + self.latlayer2(fine)}

    def _looked(self, images: Tensor) -> list[Tensor]:
        """The trunk's maps of 1/4, 1/8 and 1/16."""
        ends = [sum(self.config.units[: i + 1]) - 1 for i in range(4)]
        x, maps = self.input_layer(images), []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in ends[1:]:
                maps.append(x)
        return maps


class LookingEncoder(LookingThrough, StyleEncoder):
    """The same heads over EfficientNet-Lite0, which does not learn; ReStyle's two pictures are seen each by itself."""

    def _grow_trunk(self, config: EncoderConfig) -> tuple[int, ...]:
        """Normalise what it sees channel by channel, as the units of the published trunk do."""
        widths = tuple(width * (2 if config.iterates else 1) for width, _ in TAP_WIDTHS[1:])
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        return widths

    def _looked(self, images: Tensor) -> list[Tensor]:
        """See the class above."""
        seen = [self.taps(picture)[1:] for picture in images.split(3, 1)]
        return [norm(torch.cat(maps, 1)) for norm, *maps in zip(self.norms, *seen, strict=True)]


class StyleHead(nn.Module):
    """A map (N, C, S, S) to one code (N, w_dim), by convolutions that halve it down to a pixel."""

    def __init__(self, width: int, w_dim: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(int(math.log2(side))):
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.LeakyReLU(HEAD_SLOPE)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) to (N, w_dim)."""
        return self.linear(self.convs(x).flatten(1))


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """y = x (W / sqrt(in))^T + b: (N, in) to (N, out)."""
        return F.linear(x, self.weight * self.weight.shape[1] ** -0.5, self.bias)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
