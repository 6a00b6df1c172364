"""Translate: nothing at strength 0, any size, the same by fields as at once, within bounds."""

from dataclasses import replace

import pytest
import torch

from refacer.networks.translator import Translator, TranslatorConfig
from refacer.options import TranslateOptions
from refacer.stages.change import applied
from refacer.stages.translate import change_fields, translate

PLAIN = TranslateOptions(sharpening=0.0, complexion=1.0, evenness=0.0)


@pytest.fixture
def translator() -> Translator:
    torch.manual_seed(0)
    network = Translator(TranslatorConfig(input_px=32, channels=(4, 6, 8, 8)))
    for head in (network.color, network.light):
        torch.nn.init.normal_(head.weight, std=0.1)
    return network.eval().requires_grad_(False)


def picture(size: int, count: int = 1) -> torch.Tensor:
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


def test_strength_0_gives_the_face_back(translator: Translator):
    face = picture(64)
    assert torch.equal(translate(face, translator, TranslateOptions(strength=0.0)), face)


@pytest.mark.parametrize("size", [32, 57, 200])
@pytest.mark.parametrize("options", [PLAIN, TranslateOptions(sharpening=0.4)])
def test_any_size_stays_and_stays_in_range(translator: Translator, size: int, options: TranslateOptions):
    face = picture(size, 2)
    changed = translate(face, translator, options)
    assert changed.shape == face.shape
    assert changed.abs().max() <= 1
    assert not torch.allclose(changed, face, atol=0.02)


@pytest.mark.parametrize("options", [PLAIN, TranslateOptions(strength=1.3, sharpening=0.4, complexion=0.5)])
def test_fields_applied_are_the_translation(translator: Translator, options: TranslateOptions):
    face = picture(48)
    fields = change_fields(face, translator, options)
    assert fields.shape == (1, 12, 48, 48)
    assert torch.equal(applied(fields, face, options.strength), translate(face, translator, options))


def test_fields_of_a_small_face_serve_a_large_one(translator: Translator):
    large = picture(256)
    small = torch.nn.functional.interpolate(large, (64, 64), mode="area")
    from_small = applied(change_fields(small, translator, PLAIN), large)
    assert (from_small - translate(large, translator, PLAIN)).abs().mean() < 0.01


def test_a_mirrored_face_becomes_the_mirrored_picture(translator: Translator):
    face = picture(96)
    assert (translator(face) - translator(face.flip(3)).flip(3)).abs().max() > 0.05  # at one look it would not
    assert torch.allclose(
        translate(face.flip(3), translator, PLAIN).flip(3), translate(face, translator, PLAIN), atol=1e-5
    )


def test_each_face_of_many_is_looked_at_by_itself(translator: Translator):
    faces = picture(48, 3)
    each = torch.cat([translate(face, translator, PLAIN) for face in faces.split(1)])
    assert torch.allclose(translate(faces, translator, PLAIN), each, atol=1e-5)


def test_strength_scales_the_change(translator: Translator):
    face = picture(64) * 0.2
    half, whole = (translate(face, translator, replace(PLAIN, strength=s)) for s in (0.5, 1.0))
    assert torch.allclose(half - face, (whole - face) / 2, atol=1e-5)


def test_without_a_change_of_complexion_the_face_as_a_whole_keeps_its_hue(translator: Translator):
    face = picture(64) * 0.3

    def hue(image: torch.Tensor) -> torch.Tensor:
        skin = (image[0, :, 26:48, 22:42] + 1).mean((1, 2))
        return skin / skin.mean()

    whole, kept = (translate(face, translator, replace(PLAIN, complexion=share)) for share in (1.0, 0.0))
    assert (hue(whole) - hue(face)).abs().max() > 0.02
    assert (hue(kept) - hue(face)).abs().max() < 0.4 * (hue(whole) - hue(face)).abs().max()


def test_evenness_leaves_no_stains_of_the_networks_making():
    face = torch.full((1, 3, 128, 128), -0.1)
    face[:, 0] = 0.3  # skin, all alike

    class Stains(Translator):
        """Takes red off the left half alone."""

        def fields(self, faces: torch.Tensor, maps: torch.Tensor | None = None) -> torch.Tensor:
            fields = torch.zeros(1, 3, 4, *faces.shape[2:])
            fields[0, range(3), range(3)] = 1.0
            fields[0, 0, 3, :, :64] = -0.1
            return fields.flatten(1, 2)

    plain, evened = (translate(face, Stains(), replace(PLAIN, evenness=share)) for share in (0.0, 0.8))
    stain, left = (float(image[0, 0, 90, 100] - image[0, 0, 90, 28]) for image in (plain, evened))
    assert stain > 0.09
    assert 0 <= left < 0.6 * stain
    assert torch.allclose(evened.mean(), plain.mean(), atol=0.02)


def test_sharpening_lifts_what_is_fine_and_leaves_what_is_smooth(translator: Translator):
    face = picture(128) * 0.5
    face[:, :, 40:60:2, 40:60] += 0.1
    plain, sharp = (translate(face, translator, replace(PLAIN, sharpening=s)) for s in (0.0, 0.5))
    fine = (face[:, :, 1:] - face[:, :, :-1]).abs() > 0.05
    steeper = (sharp[:, :, 1:] - sharp[:, :, :-1]).abs() / (plain[:, :, 1:] - plain[:, :, :-1]).abs()
    assert steeper[fine].median() > 1.2
    assert (sharp - plain)[:, :, 90:, 90:].abs().max() < 0.01
