"""Axes of the styles: what they are, and that an optimisation along them comes as near in fewer steps."""

import torch

from refacer.networks.stylegan2.layers import SynthesisLayer
from refacer.stages.style_axes import style_axes
from tests.tiny import tiny_generator


def test_axes_are_at_right_angles_and_the_steepest_are_last():
    generator = tiny_generator(channel_base=256, channel_max=16)
    axes = style_axes(generator)
    assert axes.shape == (generator.num_ws, generator.w_dim, generator.w_dim)
    torch.testing.assert_close(axes.mT @ axes, torch.eye(generator.w_dim).expand_as(axes), atol=1e-4, rtol=0)
    start = generator.mapping.w_avg.expand(1, generator.num_ws, -1)
    for code in (0, 2):
        steep, flat = (_changed(generator, start, code, axes[code, :, place]) for place in (-1, 0))
        assert steep > flat


def test_no_axis_where_no_layer_looks():
    generator = tiny_generator(channel_base=256, channel_max=16)
    layers = [layer for layer in generator.synthesis.modules() if isinstance(layer, SynthesisLayer)]
    direction = torch.nn.functional.normalize(torch.randn(generator.w_dim), dim=0)
    first = layers[0].affine.weight  # the first code is this layer's alone
    first.data -= (first @ direction)[:, None] * direction
    axes = style_axes(generator)
    assert (axes[0].norm(dim=0) == 0).sum() == 1
    assert (direction @ axes[0]).abs().max() < 1e-4


@torch.no_grad()
def _changed(generator, start, code, direction):
    """How much a picture changes for a small step of one code."""
    moved = start.clone()
    moved[:, code] += 0.1 * direction
    before, after = (generator.synthesis(one, noise_mode="const") for one in (start, moved))
    return float((after - before).square().mean())
