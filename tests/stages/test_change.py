"""The change from look to look, fitted on pictures whose change is known."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.errors import ShapeMismatch
from refacer.images.color import lab_from_image
from refacer.options import ChangeOptions
from refacer.stages.change import (
    applied,
    applied_at,
    faded,
    fields_of_pair,
    guided,
    kept_tint,
    match,
)

SIDE = 128
OPTIONS = ChangeOptions()
AS_IS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def textured(seed: int = 0, side: int = SIDE) -> Tensor:
    """A picture of coarse and fine structure, about half of [-1, 1]."""
    source = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(1, 3, 5, 5, generator=source) - 0.5, (side, side), mode="bicubic")
    return coarse + 0.1 * (torch.rand(1, 3, side, side, generator=source) - 0.5)


def test_without_a_change_nothing_changes():
    face, drawn = textured(), textured(1)
    fields = fields_of_pair(drawn, drawn, drawn, OPTIONS)
    assert torch.allclose(applied(fields, drawn), drawn, atol=1e-5)
    gain, offset = guided(drawn, drawn, 7, OPTIONS.epsilon)
    assert torch.allclose(gain * face + offset, face, atol=1e-5)


def test_a_shift_of_colour_is_recovered_and_what_was_not_drawn_stays():
    """R is a smooth version of x, P the same in another colour: x keeps its detail and takes the colour."""
    face = textured()
    drawn, shift = F.avg_pool2d(face, 9, 1, 4, count_include_pad=False), torch.tensor([0.2, 0.05, -0.1])[:, None, None]
    changed = applied(fields_of_pair(face, drawn, drawn + shift, OPTIONS), face)
    assert (changed - (face + shift)).abs().mean() < 0.01
    detail = (changed - F.avg_pool2d(changed, 9, 1, 4)).std() / (face - F.avg_pool2d(face, 9, 1, 4)).std()
    assert detail == pytest.approx(1, abs=0.05)


def test_a_gain_is_recovered_where_there_is_contrast():
    face = textured()
    gain, _ = guided(face, 0.6 * face + 0.1, 7, 1e-6)
    assert gain.mean().item() == pytest.approx(0.6, abs=0.01)
    flat, _ = guided(torch.zeros_like(face), torch.full_like(face, 0.3), 7, 1e-3)
    assert torch.allclose(flat, torch.ones_like(flat))


def test_fields_are_three_by_four_maps_row_by_row():
    """[A | b] of each place: a map that swaps red and green and adds to blue."""
    face = textured()
    rows = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0.25]], dtype=torch.float32)
    mapped = applied(rows.reshape(1, 12, 1, 1), face)
    assert torch.allclose(mapped, torch.stack([face[:, 1], face[:, 0], face[:, 2] + 0.25], 1), atol=1e-6)
    assert torch.equal(applied(torch.eye(3, 4).reshape(1, 12, 1, 1), face), face)


def test_strength_scales_the_change_and_none_gives_the_same_bits():
    face, fields = textured(), fields_of_pair(textured(), textured(1), textured(2), OPTIONS)
    full, half = applied(fields, face) - face, applied(fields, face, 0.5) - face
    assert torch.equal(applied(fields, face, 0.0), face)
    inside = (full + face).abs() < 1
    assert torch.allclose(half[inside], full[inside] / 2, atol=1e-6)


def test_light_that_was_not_drawn_is_halved_and_a_bright_thing_stays():
    drawn = torch.full((1, 3, SIDE, SIDE), -0.4)
    places = torch.arange(SIDE) - SIDE / 2
    spot = torch.exp(-(places[:, None] ** 2 + places**2) / 50)
    lit = drawn + 0.3 * spot
    middle = applied(fields_of_pair(lit, drawn, drawn, OPTIONS), lit)[0, 0, SIDE // 2, SIDE // 2]
    assert middle < lit[0, 0, SIDE // 2, SIDE // 2] - 0.08
    thing = drawn.clone()
    thing[..., 40:80, 40:80] = 0.9
    kept = applied(fields_of_pair(thing, drawn, drawn, OPTIONS), thing)
    assert kept[0, 0, 60, 60] > 0.9 - OPTIONS.highlights * OPTIONS.highlight_max - 0.01


def test_a_coloured_thing_over_the_face_keeps_its_colour():
    """P's tint is taken over where R is like x, and nowhere else."""
    drawn, real = torch.full((1, 3, SIDE, SIDE), -0.2), torch.full((1, 3, SIDE, SIDE), -0.2)
    face = drawn.clone()
    face[:, :, 40:90, 40:90] = torch.tensor([-0.8, 0.6, -0.8])[:, None, None]
    changed = applied(fields_of_pair(face, drawn, real, ChangeOptions(highlights=0)), face)
    assert (changed[..., 60:70, 60:70] - face[..., 60:70, 60:70]).abs().max() < 0.02


def test_lips_do_not_turn_blue():
    """P is colder in one place alone: the face hardly follows there; a face that turns colder as a whole does."""
    drawn = torch.full((1, 3, SIDE, SIDE), -0.2)
    cold, real = torch.tensor([-0.2, 0.0, 0.2])[:, None, None], drawn.clone()
    real[..., 90:100, 50:78] += cold[..., 0:1]
    lips = applied(fields_of_pair(drawn, drawn, real, OPTIONS), drawn)[0, :, 95, 64] + 0.2
    freely = applied(fields_of_pair(drawn, drawn, real, replace(OPTIONS, cold_max=9.0)), drawn)[0, :, 95, 64] + 0.2
    assert freely[2] > 0.08
    assert lips[2] < 0.6 * freely[2]
    assert torch.allclose(applied(fields_of_pair(drawn, drawn, drawn + cold, OPTIONS), drawn), drawn + cold, atol=0.01)


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ShapeMismatch, match="128x128, 64x64, 128x128"):
        fields_of_pair(textured(), textured(side=64), textured(), OPTIONS)


def test_fields_serve_a_picture_of_any_size_and_place():
    """Sampled at half-pixel centres: fields of a ramp, seen at twice the size and turned by a quarter."""
    ramp = torch.linspace(-0.5, 0.5, 32)[None, None, None, :].expand(1, 3, 32, 32)
    fields = fields_of_pair(ramp, torch.zeros_like(ramp), ramp, ChangeOptions(window_frac=1 / 32, highlights=0, tint=0))
    black = torch.zeros(1, 3, 64, 64)
    large = applied_at(fields, black, [[0.5, 0, -0.25], [0, 0.5, -0.25]], 1.0)
    wanted = F.interpolate(applied(fields, torch.zeros_like(ramp)), (64, 64), mode="bicubic", align_corners=False)
    assert torch.allclose(large[..., 8:-8], wanted[..., 8:-8], atol=1e-4)
    turned = applied_at(fields, torch.zeros(1, 3, 32, 32), [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], 1.0)
    assert torch.allclose(turned, applied(fields, torch.zeros_like(ramp)).transpose(2, 3), atol=1e-4)


def test_fields_are_sampled_in_bands_without_seams(monkeypatch):
    face, fields = textured(), fields_of_pair(textured(), textured(1), textured(2), OPTIONS)
    whole = applied_at(fields, face, AS_IS, 1.0)
    monkeypatch.setattr("refacer.stages.change.BAND_PX", 7 * SIDE)
    assert torch.allclose(applied_at(fields, face, AS_IS, 1.0), whole, atol=1e-6)


def test_match_tells_what_was_drawn():
    face = textured()
    assert torch.allclose(match(face, face, 3.0, 0.1), torch.ones(1, 1, SIDE, SIDE))
    other = face.clone()
    other[..., : SIDE // 2] += 0.5
    trust = match(face, other, 3.0, 0.1)
    assert trust[..., :50].max() < 1e-3
    assert trust[..., -50:].min() > 0.99
    assert match(face, face + 0.1, 3.0, 0.1).mean().item() == pytest.approx(math.exp(-1), rel=1e-3)


def test_the_kept_tint_is_of_a_and_b_alone():
    source, weight = textured() * 0.5, torch.ones(1, 1, SIDE, SIDE)
    changed = source + torch.tensor([0.1, 0.15, 0.25])[:, None, None]
    before, wanted = (lab_from_image(each).mean((2, 3))[0] for each in (changed, source))
    for share in (0.0, 0.5, 1.0):
        after = lab_from_image(kept_tint(changed, source, weight, share)).mean((2, 3))[0]
        assert after[0].item() == pytest.approx(before[0].item(), abs=0.1)
        assert torch.allclose(after[1:], before[1:].lerp(wanted[1:], share), atol=0.1)


def test_a_mask_fades_towards_the_border_of_its_crop():
    mask = torch.ones(1, 1, 64, 64)
    soft = faded(mask, 0.125)
    assert torch.equal(soft[..., 8:56, 8:56], mask[..., 8:56, 8:56])
    assert soft[..., 0, :].max() < 0.02
    column = soft[0, 0, :8, 32]
    assert bool((column.diff() > 0).all())
    assert not faded(torch.zeros(1, 1, 16, 16), 0.125).any()
