"""CurricularFace's network and crop: names, sizes, and the geometry of the alignment."""

import math

import numpy as np
import pytest
import torch

from refacer.networks.curricular_face import (
    CROP_PX,
    TEMPLATE,
    CurricularFace,
    face_crop,
    five_points,
    source_from_crop,
)
from refacer.networks.irse import Unit
from refacer.weights.formats.recognise import ir_shapes
from refacer.weights.formats.states import COUNTER, shapes_of

TURN, SHIFT = 1.5 * complex(math.cos(0.3), math.sin(0.3)), complex(40, 20)


def landmarks(turn: complex = TURN, shift: complex = SHIFT) -> tuple[tuple[float, float], ...]:
    """68 points whose five lie where a similarity takes the template's; an eye's six are spread about its middle."""
    points = np.zeros(68, complex)
    five = [turn * complex(*corner) + shift for corner in TEMPLATE]
    for eye, start in zip(five[:2], (36, 42), strict=True):
        points[start : start + 6] = eye + 3 * np.exp(2j * np.pi * np.arange(6) / 6)
    points[[30, 48, 54]] = five[2:]
    return tuple((float(p.real), float(p.imag)) for p in points)


def test_names_and_shapes_are_the_published_ones():
    own = {name: shape for name, shape in shapes_of(CurricularFace).items() if not name.endswith(COUNTER)}
    assert own == ir_shapes("curricularface")


def test_a_unit_without_branch_picks_every_second_pixel():
    unit = Unit(4, 4, 2).eval()
    torch.nn.init.zeros_(unit.res_layer[4].weight)  # type: ignore[arg-type]
    x = torch.randn(1, 4, 6, 6)
    assert torch.equal(unit(x), x[..., ::2, ::2])


def test_embeddings_have_length_one_and_see_each_picture_alone():
    torch.manual_seed(0)
    network = CurricularFace((1, 1, 1, 1), (4, 4, 8, 8)).eval()
    crops = torch.rand(2, 3, CROP_PX, CROP_PX) * 2 - 1
    found = network(crops)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(found[1:], network(crops[1:]))
    assert found[0] @ found[1] < 0.999


def test_five_of_68_landmarks():
    expected = [TURN * complex(*corner) + SHIFT for corner in TEMPLATE]
    assert [complex(*point) for point in five_points(landmarks())] == pytest.approx(expected)


def test_the_similarity_is_found_again_and_fits_best():
    assert source_from_crop(five_points(landmarks())) == pytest.approx((TURN, SHIFT))
    rng = np.random.default_rng(0)
    moved = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(TEMPLATE, rng.normal(0, 4, (5, 2)), strict=True)]

    def misfit(turn: complex, shift: complex) -> float:
        return sum(abs(turn * complex(*c) + shift - complex(*p)) ** 2 for c, p in zip(TEMPLATE, moved, strict=True))

    turn, shift = source_from_crop(tuple(moved))
    for nudge in (1e-3, -1e-3, 1e-3j, -1e-3j):
        assert misfit(turn, shift) < min(misfit(turn + nudge, shift), misfit(turn, shift + nudge))


def test_the_crop_shows_what_lies_at_the_landmarks():
    """A picture whose red is x and whose green is y, which bilinear sampling gives back exactly."""
    y, x = torch.meshgrid(torch.arange(220.0), torch.arange(260.0), indexing="ij")
    image = torch.stack((x / 130 - 1, y / 110 - 1, torch.zeros_like(x)))[None]
    crop = face_crop(image, landmarks())
    assert crop.shape == (1, 3, CROP_PX, CROP_PX)
    for column, row in ((50, 40), (70, 100)):
        there = TURN * complex(column, row) + SHIFT
        assert crop[0, :2, row, column].tolist() == pytest.approx(
            [there.real / 130 - 1, there.imag / 110 - 1], abs=1e-5
        )


def test_beyond_the_picture_it_is_black():
    crop = face_crop(torch.ones(1, 3, 64, 64), landmarks(1, complex(-60, 0)))
    assert (crop[0, :, :, :59] == -1).all()
    assert (crop[0, :, :60, 61:] == 1).all()
