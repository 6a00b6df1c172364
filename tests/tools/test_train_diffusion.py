"""The training of SDEdit's model: it learns, keeps what is best on others, goes on exactly, ends in a folder."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from refacer.files import encode_png
from refacer.images.pixels import rgb_from_tensor
from refacer.networks.diffusion import DiffusionConfig
from refacer.training.dataset import FaceDataset
from refacer.weights.denoisers import open_model
from tools.studio.train_diffusion import DenoiserOptions, DenoiserTrainer, run

SIZES = DiffusionConfig(8, (8, 16), 4)
OPTIONS = DenoiserOptions(kimg=0.32, tick_kimg=0.08, batch=4, lr=3e-3)


@pytest.fixture
def data(tmp_path: Path) -> FaceDataset:
    """Plain pictures of one colour."""
    (tmp_path / "faces").mkdir()
    face = torch.full((1, 3, 8, 8), 0.5)
    (tmp_path / "faces/a.png").write_bytes(encode_png(rgb_from_tensor(face), None))
    return FaceDataset([tmp_path / "faces"], 8)


def trainer(data: FaceDataset, options: DenoiserOptions = OPTIONS) -> DenoiserTrainer:
    return DenoiserTrainer(SIZES, data, torch.full((4, 3, 8, 8), 0.5), options)


def test_it_learns_and_ends_in_a_model_that_sdedit_takes(data, tmp_path):
    run(tmp_path / "run", trainer(data), "CC0-1.0")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [80, 160, 240, 320]
    assert lines[0]["held_out"] < 1.05
    assert lines[-1]["held_out"] < 0.9 * lines[0]["held_out"]
    facts = json.loads((tmp_path / "run/denoiser.json").read_text())
    assert facts["held_out_loss"] == pytest.approx(min(line["held_out"] for line in lines))
    model = open_model(tmp_path / "run", torch.device("cpu"))
    assert (model.use.licence, model.use.commercial, model.network.side_px) == ("CC0-1.0", "yes", 8)


def test_it_goes_on_exactly(data, tmp_path):
    run(tmp_path / "a", trainer(data), "mine")
    stopped = trainer(data)
    while stopped.images_seen < 160:
        stopped.step()
        if stopped.images_seen % 80 == 0:
            stopped.measure()
    resumed = trainer(data)
    resumed.load_state_dict(stopped.state_dict())
    run(tmp_path / "b", resumed, "mine")
    first, second = ((tmp_path / name / "denoiser.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert json.loads((tmp_path / "a/denoiser.json").read_text())["commercial"] == "unclear"


def test_what_is_best_on_others_is_kept(data):
    one = trainer(data)
    assert one.best_loss == math.inf
    one.measure()
    before = one.best_loss
    with torch.no_grad():
        for parameter in one.average.parameters():
            parameter.add_(1.0)
    assert one.measure()["held_out"] > before
    assert one.best_loss == before


def test_only_the_lower_levels_are_seen(data, monkeypatch):
    one, seen = trainer(data, replace(OPTIONS, batch=64)), []
    monkeypatch.setattr(
        one.network, "forward", lambda x, levels: seen.append(levels) or x * one.network.first.weight.mean()
    )
    one.step()
    assert 1 <= int(seen[0].min()) <= 20
    assert 480 <= int(seen[0].max()) <= 500
