"""Networks of twice the resolution that start where the smaller ones ended (after Net2Net, Chen et al. 2016).

What has the same name and shape is carried over; what is new begins without effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from refacer.networks.stylegan2.layers import LRELU_GAIN, Conv
from refacer.networks.stylegan2.networks import Discriminator, Generator
from refacer.networks.stylegan2.ops import LRELU_SLOPE

SIGNED_RGB = 6  # channels that carry red, green and blue and their negatives


def carry_over(old: Mapping[str, Tensor], target: nn.Module) -> list[str]:
    """Copy what the target has under the same name and shape; returns the names that stay random."""
    new = target.state_dict()
    fits = {name for name, tensor in new.items() if name in old and old[name].shape == tensor.shape}
    target.load_state_dict({name: old[name] if name in fits else tensor for name, tensor in new.items()})
    return sorted(new.keys() - fits)


@torch.no_grad()
def grow_generator(old: Mapping[str, Tensor], target: Generator) -> None:
    """Carry a state over; new ToRGB layers start at 0, so that the picture starts as the old one enlarged."""
    fresh = carry_over(old, target)
    for name, parameter in target.named_parameters():
        if name in fresh and name.endswith("torgb.weight"):
            parameter.zero_()


@torch.no_grad()
def grow_discriminator(old: Mapping[str, Tensor], target: Discriminator) -> None:
    """Carry a state over; a new first block starts as 'halve the picture', so that the verdict starts as the old one.

    A first block left random feeds noise to trained ones: the verdict is lost, and R1 keeps it from coming back.
    """
    side = target.img_resolution
    carry_over(old, target)
    weight, bias = (old.get(f"b{side // 2}.fromrgb.{name}") for name in ("weight", "bias"))
    block = target.get_submodule(f"b{side}")
    if weight is not None and bias is not None and target.config.channels(side) >= SIGNED_RGB:
        _pass_through(block, weight, bias)


def _pass_through(block: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Make a block the old FromRGB layer of the halved picture: weight (O, 3, 1, 1), bias (O,).

    The leaky ReLU of slope s bends what passes it, but f(x) - f(-x) = (1 + s) x stays straight, twice over (1 + s²) x.
    """
    fromrgb, conv0, conv1, skip = (block.get_submodule(name) for name in ("fromrgb", "conv0", "conv1", "skip"))
    assert isinstance(fromrgb, Conv)
    assert isinstance(conv0, Conv)
    assert isinstance(conv1, Conv)
    signs = torch.cat([torch.eye(3), -torch.eye(3)]).to(weight)
    fromrgb.weight[:SIGNED_RGB] = (signs * _gain(fromrgb))[..., None, None]
    fromrgb.bias[:SIGNED_RGB] = 0
    conv0.weight[:SIGNED_RGB] = 0
    conv0.weight[:SIGNED_RGB, :SIGNED_RGB, 1, 1] = torch.eye(SIGNED_RGB).to(weight) * _gain(conv0)
    conv0.bias[:SIGNED_RGB] = 0
    straight = weight[..., 0, 0] * (LRELU_GAIN / math.sqrt(3)) / (1 + LRELU_SLOPE**2)  # (O, 3)
    conv1.weight.zero_()  # its activation's gain and the residual's sqrt(1/2) cancel
    conv1.weight[:, :SIGNED_RGB, 1, 1] = straight @ signs.t() * (_gain(conv1) * LRELU_GAIN)
    conv1.bias.copy_(bias * LRELU_GAIN)
    skip.get_parameter("weight").zero_()


def _gain(conv: Conv) -> float:
    """The stored weight that acts as 1."""
    return math.sqrt(conv.weight[0].numel()) / LRELU_GAIN
