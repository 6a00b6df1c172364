"""The translator: where it has nothing to say it changes nothing; its limits hold; it knows what it has seen."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from refacer.errors import InputRefused, ShapeMismatch, UsageError
from refacer.networks.translator import (
    FIELDS,
    WHITE_FROM,
    Translator,
    TranslatorConfig,
    dulled,
    lost_color,
    mapped,
    skin_around,
    with_own_eyes,
)
from refacer.weights.loaders import encode_network, load_translator

TINY = TranslatorConfig(input_px=32, channels=(4, 6, 8, 8))


def faces(count: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


def stirred(config: TranslatorConfig = TINY, scale: float = 0.5) -> Translator:
    """A network whose every weight is random."""
    torch.manual_seed(0)
    translator = Translator(config)
    for parameter in translator.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return translator.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [32, 50, 128])
def test_an_untrained_network_changes_nothing(size: int):
    pictures = faces(2, size) * WHITE_FROM
    fields = Translator(TINY)(pictures)
    assert fields.shape == (2, FIELDS, size, size)
    assert torch.allclose(mapped(fields, pictures), pictures, atol=1e-6)


def test_a_map_is_applied_row_by_row():
    fields = torch.tensor([[0.5, 0.1, 0.0, 0.2], [0.0, 1.0, 0.3, 0.0], [0.2, 0.0, 0.9, -0.1]]).view(1, 12, 1, 1)
    changed = mapped(fields, torch.tensor([0.4, -0.2, 0.6]).view(1, 3, 1, 1).expand(1, 3, 2, 2))
    assert changed[0, :, 1, 0].tolist() == pytest.approx([0.38, -0.02, 0.52])


def test_no_map_leaves_its_limits():
    config = replace(TINY, slope_limit=0.3, offset_limit=0.2, gain_limit=0.0, shade_limit=0.0, dull_limit=0.0)
    fields = stirred(config, scale=5.0)(faces(3) * WHITE_FROM)
    rows = fields[:, :, 22:].unflatten(1, (3, 4))  # below the eyes, which keep a hue of their own
    identity = torch.eye(3)[None, :, :, None, None]
    assert (rows[:, :, :3] - identity).abs().max() <= 0.3 + 1e-6
    assert rows[:, ::2, 3].abs().max() <= 0.2 + 1e-6
    assert rows[:, 1, 3].max() <= 0.2 + 1e-6


def test_light_alone_makes_no_color():
    config = replace(TINY, slope_limit=0.0, offset_limit=0.0, dull_limit=0.0)
    grey = faces(3)[:, :1].expand(-1, 3, -1, -1) * WHITE_FROM
    changed = mapped(stirred(config)(grey), grey)
    assert (changed - changed.mean(1, keepdim=True)).abs().max() < 1e-5
    assert (changed - grey).abs().max() > 0.1


def test_a_clipped_highlight_never_turns_green():
    translator = stirred(replace(TINY, dull_limit=0.0), scale=1.0)
    face = faces(8)[:, :1].repeat(1, 3, 1, 1)
    face[:, :, 10:13, 10:13] = 1
    red, green, blue = mapped(translator(face), face)[:, :, 10:13, 10:13].unbind(1)
    assert (green - (red + blue) / 2).max() < 0.05
    assert (red - blue).abs().max() > 0.2


def test_a_white_spot_takes_the_hue_of_what_it_lies_on():
    skin = torch.tensor([0.4, 0.1, -0.1]).view(1, 3, 1, 1)
    face = skin.expand(1, 3, 64, 64).clone()
    face[:, :, 30:34, 30:34] = 1
    restored = face + lost_color(face, 64)
    assert torch.allclose(restored[:, :, :20], face[:, :, :20], atol=1e-5)
    spot = restored[0, :, 32, 32]
    assert spot.mean().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose((spot + 1) / (spot + 1).sum(), (skin + 1).flatten() / (skin + 1).sum(), atol=0.01)


def test_what_is_white_all_around_stays_white():
    assert lost_color(torch.ones(1, 3, 64, 64), 32).abs().max() < 1e-5


def test_a_dulled_highlight_is_the_skin_around_it():
    skin = torch.tensor([0.2, -0.2, -0.4]).view(1, 3, 1, 1)
    face = skin.expand(1, 3, 64, 64) + 0.02 * (faces(1, 64)[:, :1] - 0.5)
    face[:, :, 28:36, 28:36] += 0.7  # white light on it
    around = skin_around(face, 32)
    assert (around - (skin + 1) / 2).abs().max() < 0.06
    whole = dulled(face, torch.ones(1, 1, 64, 64), around)
    assert (whole[:, :, 28:36, 28:36] - skin).abs().max() < 0.06
    assert (whole - face)[:, :, :20].abs().max() < 0.02
    half = dulled(face, torch.full((1, 1, 64, 64), 0.5), around)
    assert half[0, :, 32, 32].mean().item() == pytest.approx(skin.mean().item() + 0.35, abs=0.03)
    assert torch.allclose(dulled(face, torch.zeros(1, 1, 64, 64), around), face, atol=1e-6)


def test_blue_eyes_stay_blue_under_another_complexion():
    skin, iris, cheek = (
        torch.tensor(c).view(3, 1, 1) for c in ((0.2, -0.2, -0.4), (-0.4, -0.3, 0.1), (0.3, -0.4, -0.5))
    )
    face = skin.expand(3, 64, 64)[None].clone()
    face[0, :, 28:32, 24:28] = iris
    face[0, :, 40:44, 24:28] = cheek
    warmer = face + torch.tensor([0.3, 0.0, -0.2]).view(1, 3, 1, 1)
    result = with_own_eyes(warmer, face, skin_around(face, 32))
    before, after = ((x[0, :, 30, 26] + 1) / (x[0, :, 30, 26] + 1).mean() for x in (face, result))
    assert torch.allclose(before, after, atol=0.1)
    assert result[0, :, 30, 26].mean().item() == pytest.approx(warmer[0, :, 30, 26].mean().item(), abs=1e-5)
    result[0, :, 26:34, 22:30] = warmer[0, :, 26:34, 22:30]
    assert torch.allclose(result, warmer, atol=1e-5)


def test_dark_eyes_turn_no_warmer_than_lids_do():
    skin, iris = (torch.tensor(c).view(3, 1, 1) for c in ((0.4, 0.0, -0.2), (-0.7, -0.75, -0.8)))
    face = skin.expand(3, 64, 64)[None].clone()
    face[0, :, 28:32, 24:28] = iris
    face[0, :, 50:54, 24:28] = iris  # as dark, but no eye
    warmer = face + torch.tensor([0.06, 0.0, -0.04]).view(1, 3, 1, 1)
    result = with_own_eyes(warmer, face, skin_around(face, 32))

    def warmth(image: torch.Tensor) -> float:
        color = (image[0, :, 30, 26] + 1) / (image[0, :, 30, 26] + 1).mean()
        return float(color[0] - color[2])

    assert warmth(face) < warmth(result) < warmth(face) + 0.4 * (warmth(warmer) - warmth(face))
    assert torch.allclose(result[:, :, 34:], warmer[:, :, 34:], atol=1e-5)


def test_what_is_no_face_is_refused():
    with pytest.raises(ShapeMismatch, match="takes"):
        Translator(TINY)(torch.zeros(1, 3, 32, 30))
    with pytest.raises(UsageError, match="multiple of 16"):
        TranslatorConfig(input_px=40)


def test_faces_like_those_it_remembers_are_within_its_range_and_others_are_not():
    translator = stirred()
    translator.remember_range(faces(400))
    usual, odd = translator.strangeness(faces(100, seed=1)), translator.strangeness(50 * faces(1, seed=2))
    assert usual.median() < odd
    assert translator.share_within(odd).item() == 1
    assert translator.share_within(usual).mean() == pytest.approx(0.5, abs=0.2)


def test_a_file_gives_the_network_back(tmp_path: Path):
    translator = stirred()
    translator.remember_range(faces(64))
    (tmp_path / "t.safetensors").write_bytes(encode_network(translator, "translator", translator.settings))
    read = load_translator(tmp_path / "t.safetensors")
    assert read.config == TINY
    assert not any(parameter.requires_grad for parameter in read.parameters())
    for name, tensor in read.state_dict().items():
        assert torch.equal(tensor, translator.state_dict()[name].half().float()), name


@pytest.mark.parametrize(
    "settings",
    [
        {"input_px": 40},
        {"channels": [4, 6, 8, 9]},
        {"channels": [4, 6]},
        {"channels": [4, 6, 8, 10**9]},
        {"input_px": 1.5},
        {"slope_limit": float("nan")},
        {"more": 1},
    ],
)
def test_another_layout_is_refused(settings: dict[str, object], tmp_path: Path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(encode_network(stirred(), "translator", {**stirred().settings, **settings}))
    with pytest.raises(InputRefused, match="do not fit"):
        load_translator(path)


def test_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(encode_network(stirred(), "generator", stirred().settings))
    with pytest.raises(InputRefused, match="generator"):
        load_translator(path)
