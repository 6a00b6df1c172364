"""Perceptual distances as squared Euclidean distances of feature vectors (LPIPS, Zhang et al. 2018).

A target's features are computed once; every step of Eq. 4 then costs one pass of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refacer.errors import InputRefused, UsageError, WeightsMissing
from refacer.images.resampling import resized
from refacer.options import PART_CENTRES, PART_FRAC

VGG16_LAYOUT = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
"""Widths of VGG16's convolutions (Simonyan & Zisserman 2015, configuration D); M is a 2x2 max pool."""

LPIPS_TAPS = (3, 8, 15, 22, 29)
"""Indices of relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 in torchvision's `features`."""

LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)


class Perceptual(Protocol):
    """A network whose features lie as far apart as two pictures look."""

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, F) float32; the squared distance of two rows is the perceptual distance."""
        ...


class BlockFeatures(Protocol):
    """What a discriminator offers: the outputs of its blocks, finest first, for pictures of one resolution."""

    img_resolution: int

    def features(self, img: Tensor) -> list[Tensor]:
        """(N, 3, R, R) in [-1, 1] -> one (N, C, r, r) a block."""
        ...


def distance(a_features: Tensor, b_features: Tensor) -> Tensor:
    """Perceptual distance (N,) of two sets of features (N, F)."""
    return (a_features - b_features).square().sum(1)


def features_in(dtype: torch.dtype, perceptual: Perceptual, images: Tensor) -> Tensor:
    """`perceptual.features` of images, (N, F) float32, with convolutions in a dtype: float32 or bfloat16."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        return perceptual.features(images).float()


def shrink(images: Tensor, side_px: int) -> Tensor:
    """Area-resize (N, 3, H, W) to `side_px` where it is larger, as the published projectors do."""
    height, width = images.shape[-2:]
    if max(height, width) <= side_px:
        return images
    if height == width and height % side_px == 0:  # the same mean, with a backward pass that CUDA repeats bit for bit
        return F.avg_pool2d(images, height // side_px)
    return F.interpolate(images, size=(side_px, side_px), mode="area")


def fitted(images: Tensor, least_px: int, most_px: int) -> Tensor:
    """`shrink` to `most_px`; smaller pictures than `least_px` are enlarged to it, bilinear."""
    x = shrink(images, most_px)
    return x if x.shape[-1] >= least_px else F.interpolate(x, size=(least_px, least_px), mode="bilinear")


class LpipsVgg(nn.Module):
    """LPIPS v0.1 over VGG16 (Zhang et al. 2018): unit-normalised taps times the square root of the linear weight.

    trunk: torchvision's VGG16 state; its classifier is not used. The linear weights come with the lpips package.
    """

    linear: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Mapping[str, Tensor], input_px: int = 256):
        super().__init__()
        self.input_px = input_px
        with torch.device("meta"):
            self.trunk = _vgg16_trunk()
        self.trunk.load_state_dict(_trunk_state(trunk, self.trunk), assign=True)
        self.trunk.requires_grad_(False)
        self.register_buffer("linear", torch.cat(lpips_linear_weights()))
        self.register_buffer("shift", torch.tensor(LPIPS_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(LPIPS_SCALE).view(1, 3, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, F) float32, of which the squared distance is LPIPS."""
        x = (shrink(images, self.input_px) - self.shift) / self.scale
        taps = self._taps(x.contiguous(memory_format=torch.channels_last))
        weights = self.linear.split([tap.shape[1] for tap in taps])
        return torch.cat([weighted_features(tap, weight) for tap, weight in zip(taps, weights, strict=True)], 1)

    def _taps(self, x: Tensor) -> list[Tensor]:
        """The five activations that LPIPS compares."""
        taps: list[Tensor] = []
        for index, layer in enumerate(self.trunk):
            x = layer(x)
            if index in LPIPS_TAPS:
                taps.append(x)
        return taps


class DiscriminatorFeatures(nn.Module):
    """A pair's own discriminator as a perceptual network, where LPIPS' weights are not there.

    Block outputs are unit-normalised over channels as in LPIPS, averaged over pixels and summed with `weights`.
    blocks: which outputs, counted from the finest; None: all. weights: one a block; None: equal ones that sum to 1.
    Pictures of another size than the discriminator's are resized: the area's mean downwards, bilinear upwards.
    """

    def __init__(
        self,
        discriminator: BlockFeatures,
        blocks: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
    ):
        super().__init__()
        if weights is not None and blocks is not None and len(weights) != len(blocks):
            raise UsageError(f"{len(blocks)} discriminator blocks need as many weights, not {len(weights)}")
        self.discriminator = discriminator
        self.blocks = None if blocks is None else tuple(blocks)
        self.weights = None if weights is None else tuple(weights)

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (N, F) float32."""
        side_px = self.discriminator.img_resolution
        outputs = self.discriminator.features(fitted(images, side_px, side_px))
        chosen = outputs if self.blocks is None else [outputs[block] for block in self.blocks]
        weights = self.weights or (1 / len(chosen),) * len(chosen)
        pairs = zip(chosen, weights, strict=True)
        parts = [weighted_features(x.float(), x.new_full((), weight)) for x, weight in pairs]
        return torch.cat(parts, 1)


class WithParts(nn.Module):
    """A perceptual distance of the whole face and of its eyes and mouth enlarged, weighted (1 - weight) to weight.

    We recognise a person by a few per cent of a face's pixels, which a distance over all of it hardly counts.
    side_px: size at which `network` sees each part.
    """

    def __init__(self, network: Perceptual, side_px: int, weight: float) -> None:
        super().__init__()
        self.network = network  # where it is a module it is registered, and moves to a device with this one
        self.side_px, self.weight = side_px, weight

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1], aligned as FFHQ's -> (N, F) float32."""
        whole = self.network.features(images)
        return beside_parts(whole, self.network.features(resized(parts(images), self.side_px)), self.weight)


def parts(images: Tensor) -> Tensor:
    """Squares about both eyes and the mouth of aligned faces: (N, C, R, R) -> (3 N, C, R / 4, R / 4), eyes first."""
    size = images.shape[-1]
    side = int(PART_FRAC * size)
    corners = [(round(y * size) - side // 2, round(x * size) - side // 2) for x, y in PART_CENTRES]
    return torch.cat([images[..., top : top + side, left : left + side] for top, left in corners])


def beside_parts(whole: Tensor, seen: Tensor, weight: float) -> Tensor:
    """Features (N, F) of faces and (3 N, G) of their `parts` as one; squared distances weigh (1 - weight) to weight."""
    share = weight / len(PART_CENTRES)
    return torch.cat([whole * (1 - weight) ** 0.5, torch.cat(seen.chunk(len(PART_CENTRES)), 1) * share**0.5], 1)


def lpips_linear_weights() -> list[Tensor]:
    """The five linear layers of LPIPS v0.1 for VGG16, each (C,), out of the lpips package without importing it."""
    spec = find_spec("lpips")
    if spec is None or spec.origin is None:
        raise WeightsMissing("the lpips package is not installed; install refacer with its dependencies")
    path = Path(spec.origin).parent / "weights" / "v0.1" / "vgg.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{tap}.model.1.weight"].flatten() for tap in range(len(LPIPS_TAPS))]


def unit_length(x: Tensor) -> Tensor:
    """(N, C, H, W) with every pixel's channels of length 1."""
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)


def weighted_features(x: Tensor, weight: Tensor) -> Tensor:
    """Unit-normalise over channels and flatten, so that squared differences are `weight`ed and averaged over pixels."""
    pixels = x.shape[-2] * x.shape[-1]
    scaled = unit_length(x) * (weight / pixels).sqrt().view(1, -1, 1, 1)
    return scaled.permute(0, 2, 3, 1).flatten(1)  # channels last is how the activations lie in memory


def _vgg16_trunk() -> nn.Sequential:
    """VGG16 up to relu5_3, under torchvision's indices."""
    layers: list[nn.Module] = []
    channels = 3
    for width in VGG16_LAYOUT:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def _trunk_state(trunk: Mapping[str, Tensor], module: nn.Sequential) -> dict[str, Tensor]:
    """The convolutions of torchvision's VGG16 state, checked; raises InputRefused where it is another network's."""
    state: dict[str, Tensor] = {}
    for key, wanted in module.state_dict().items():
        found = trunk.get(f"features.{key}")
        if found is None or found.shape != wanted.shape:
            raise InputRefused(f"not a VGG16 state: features.{key} is {'missing' if found is None else 'misshapen'}")
        state[key] = found.float()
    return state
