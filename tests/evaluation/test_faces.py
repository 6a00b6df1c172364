"""Measures inside a region, on pictures whose figures are known."""

import pytest
import torch

from refacer.evaluation.faces import (
    blurred_color,
    color_difference,
    pasted_region,
    perceptual_distance,
    squared_difference,
)
from tests.tools.fakes import Brightness

SIDE = 64


@pytest.fixture
def region() -> torch.Tensor:
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[:, :, 16:48, 16:48] = 1
    return mask


def test_l2_counts_the_region_alone(region):
    a, b = torch.zeros(1, 3, SIDE, SIDE), torch.full((1, 3, SIDE, SIDE), 0.9)
    b[:, :, 16:48, 16:48] = 0.2
    assert squared_difference(a, b, region) == pytest.approx(0.04)
    assert squared_difference(a, a, region) == 0


def test_blurred_colour_forgives_texture_and_keeps_colour(region):
    checks = torch.zeros(1, 3, SIDE, SIDE)
    checks[..., ::2, ::2] = checks[..., 1::2, 1::2] = 0.4
    flat = torch.full_like(checks, 0.2)
    assert squared_difference(checks, flat, region) == pytest.approx(0.04)
    assert color_difference(checks, flat, region) < 0.002
    assert color_difference(flat + 0.3, flat, region) == pytest.approx(0.09, rel=1e-3)


def test_the_background_does_not_leak_into_the_colour(region):
    face = torch.full((1, 3, SIDE, SIDE), 0.2)
    elsewhere = torch.where(region > 0, face, torch.ones(()))
    assert torch.allclose(blurred_color(face, region), blurred_color(elsewhere, region), atol=1e-5)


def test_perceptual_distance_sees_the_region_alone(region):
    a = torch.zeros(1, 3, SIDE, SIDE)
    b = torch.where(region > 0, a, torch.ones(()))
    assert perceptual_distance(a, b, region, Brightness()) == 0
    assert perceptual_distance(a, a + 0.4, region, Brightness()) == pytest.approx(3 * 0.1**2)


def test_pasted_region_is_the_nine_parts():
    ids = torch.arange(19, dtype=torch.uint8).view(1, 1, 19)
    assert [i for i in range(19) if pasted_region(ids)[0, 0, 0, i]] == [*range(1, 9), 10, 11, 12, 13, 17]
