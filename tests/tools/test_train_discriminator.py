"""The training of a discriminator alone: the generator stays, photographs are told from what it draws, runs go on."""

import copy
import json
from pathlib import Path

import pytest
import torch

from refacer.files import encode_png
from refacer.images.pixels import rgb_from_tensor, scale_to_unit
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.training.dataset import FaceDataset
from refacer.weights.bases import Base, fresh_networks, load_base
from tools.studio.train_discriminator import train, trainer_of

SIZES = NetworkOptions(16, channel_base=64, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1)
OPTIONS = FinetuneOptions(batch=4, kimg=0.08, gamma=0.01, aug="none", tick_kimg=0.04)


@pytest.fixture
def data(tmp_path: Path) -> FaceDataset:
    (tmp_path / "faces").mkdir()
    draw = torch.Generator().manual_seed(0)
    for name in range(4):
        face = torch.rand(1, 3, 16, 16, generator=draw) * 2 - 1
        (tmp_path / f"faces/{name}.png").write_bytes(encode_png(rgb_from_tensor(face), None))
    return FaceDataset([tmp_path / "faces"], 16)


@pytest.fixture
def base() -> Base:
    torch.manual_seed(0)
    generator, discriminator = fresh_networks(SIZES)
    return Base(generator.eval(), discriminator, "", "CC0-1.0", "yes", None)


def _margin(base: Base, photos: torch.Tensor) -> float:
    """By how much photographs are taken for real rather than what the generator draws."""
    assert base.discriminator is not None
    z = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        drawn = base.generator.synthesis(base.generator.mapping(z), noise_mode="const")
        return float(base.discriminator(photos).mean() - base.discriminator(drawn).mean())


def test_photographs_are_told_from_drawings_of_a_generator_that_stays(base: Base, data: FaceDataset, tmp_path: Path):
    photos, before = scale_to_unit(data.batch(0, 4)), copy.deepcopy(base)
    train(tmp_path / "run", base, trainer_of(base, data, OPTIONS))
    result = load_base(str(tmp_path / "run"))
    assert result.licence == "CC0-1.0"
    assert _margin(result, photos) > _margin(before, photos) + 0.5
    for name, tensor in base.generator.state_dict().items():
        assert torch.equal(tensor, before.generator.state_dict()[name])


def test_a_run_goes_on_from_its_state(base: Base, data: FaceDataset, tmp_path: Path):
    unbroken, halved = copy.deepcopy(base), copy.deepcopy(base)
    train(tmp_path / "a", unbroken, trainer_of(unbroken, data, OPTIONS))
    half = FinetuneOptions(batch=4, kimg=0.04, gamma=0.01, aug="none", tick_kimg=0.04)
    train(tmp_path / "b", halved, trainer_of(halved, data, half))
    train(tmp_path / "b", base, trainer_of(base, data, OPTIONS))
    first, second = ((tmp_path / name / "discriminator.safetensors").read_bytes() for name in "ab")
    assert first == second
    seen = [json.loads(line)["images_seen"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    assert seen == [40, 80]
