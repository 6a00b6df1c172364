"""`refacer sdedit` with a small denoiser of our own and with folders laid out as diffusers lays them out."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from refacer.files import read_passport, write_atomic
from refacer.networks.diffusion import Denoiser, DiffusionConfig
from refacer.weights import denoisers
from refacer.weights.denoisers import encode_denoiser

FACTS = {"licence": "CC0-1.0", "commercial": "yes"}


def written_model(folder: Path) -> Path:
    """A denoiser of random weights, 16 pixels."""
    torch.manual_seed(0)
    network = Denoiser(DiffusionConfig(16, (8, 16), 8))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    for name, data in encode_denoiser(network, FACTS).items():
        write_atomic(folder / name, data)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return written_model(tmp_path / "denoiser")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"faces/{name}.png")
    return tmp_path / "faces"


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def statuses(report: Path) -> list[str]:
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    return [line["status"] for line in lines if "summary" not in line]


def test_three_samples_a_face_differ_by_seed_and_repeat_by_it(cli, faces, model, tmp_path):
    call = ("sdedit", faces, "--model", model, "--steps", 20)
    ended = cli(*call, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{face}.{i}.png" for face in "ab" for i in range(3)]
    made = [pixels(tmp_path / f"out/a.{i}.png") for i in range(3)]
    assert made[0].shape == (16, 16, 3)
    assert (made[0] != made[1]).any()
    assert cli(*call, "-o", tmp_path / "later", "--seed", 2, "--samples", 1).code == 0
    assert (pixels(tmp_path / "later/a.png") == made[2]).all()
    record = read_passport(tmp_path / "out/a.2.png").faces[0].stages[-1]
    assert (record.stage, record.seed, record.parameters["t0"]) == ("sdedit", 2, 0.3)
    assert set(record.models) == {"denoiser"}


def test_what_is_up_to_date_stays(cli, faces, model, tmp_path):
    call = ("sdedit", faces, "--model", model, "--steps", 20, "-o", tmp_path / "out", "--report", tmp_path / "r")
    assert cli(*call).code == 0
    before = (tmp_path / "out/a.1.png").stat().st_mtime_ns
    assert cli(*call).code == 0
    assert statuses(tmp_path / "r") == ["skipped", "skipped"]
    (tmp_path / "out/b.1.png").unlink()
    assert cli(*call).code == 0
    assert statuses(tmp_path / "r") == ["skipped", "done"]
    assert (tmp_path / "out/a.1.png").stat().st_mtime_ns == before
    assert cli(*call, "--t0", 0.2).code == 0
    assert statuses(tmp_path / "r") == ["done", "done"]


def test_a_bad_face_among_several_stops_nothing(cli, faces, model, tmp_path):
    (faces / "bad.png").write_bytes(b"no picture")
    ended = cli("sdedit", faces, "--model", model, "--steps", 10, "-o", tmp_path / "out")
    assert (ended.code, ended.err.count("refacer: error")) == (1, 1)
    assert len(list((tmp_path / "out").iterdir())) == 6


def refused(cli, faces, folder: Path, *options: object) -> tuple[int, str]:
    ended = cli("sdedit", faces / "a.png", "--model", folder, "-o", f"{folder}-out/", *options)
    assert ended.err.count("\n") == 1, ended.err
    return ended.code, ended.err


def test_more_noise_than_the_model_has_seen(cli, faces, model):
    assert refused(cli, faces, model, "--t0", 0.7)[0] == 2


def test_folders_that_hold_no_model(cli, faces, model, tmp_path):
    (tmp_path / "empty").mkdir()
    code, told = refused(cli, faces, tmp_path / "empty")
    assert (code, "train_diffusion" in told) == (8, True)
    (model / "denoiser.safetensors").write_bytes((model / "denoiser.safetensors").read_bytes()[:-1])
    assert refused(cli, faces, model)[0] == 5
    written_model(model)
    facts = json.loads((model / "denoiser.json").read_text())
    (model / "denoiser.json").write_text(json.dumps({**facts, "sha256": "0" * 64}))
    assert refused(cli, faces, model)[0] == 5
    (model / "denoiser.json").write_text("[]")
    assert refused(cli, faces, model)[0] == 5


class Unet:
    """What diffusers would give: it finds no noise. It notes the timesteps and how it was read."""

    def __init__(self, **config: Any) -> None:
        self.config, self.asked, self.read = SimpleNamespace(**config), [], {}
        self.missing: list[str] = []
        self.failure: Exception | None = None

    def __call__(self, x: torch.Tensor, timestep: int) -> SimpleNamespace:
        self.asked.append(timestep)
        return SimpleNamespace(sample=torch.zeros_like(x))

    def eval(self) -> "Unet":
        return self

    def requires_grad_(self, _: bool) -> "Unet":
        return self

    def to(self, _: object) -> "Unet":
        return self


@pytest.fixture
def library(monkeypatch) -> Unet:
    """A stand-in for diffusers with one model of 16 pixels."""
    unet = Unet(sample_size=16, in_channels=3)

    def read(_folder: Path, **how: Any) -> tuple[Unet, dict[str, list[str]]]:
        unet.read = how
        if unet.failure:
            raise unet.failure
        return unet, {"missing_keys": unet.missing}

    signal = DiffusionConfig().signal()
    scheduler = SimpleNamespace(alphas_cumprod=signal, config=SimpleNamespace(prediction_type="epsilon"))
    fake = SimpleNamespace(
        UNet2DModel=SimpleNamespace(from_pretrained=read),
        VQModel=None,
        DDPMScheduler=SimpleNamespace(from_pretrained=lambda _folder, **_: scheduler),
    )
    monkeypatch.setitem(sys.modules, "diffusers", fake)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "refacer.weights.diffusers_models", raising=False)
    monkeypatch.setattr(denoisers, "find_spec", lambda _: True)
    unet.config.scheduler = scheduler
    return unet


def laid_out(folder: Path, weights: str) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / weights).write_bytes(b"x")
    (folder / "model_index.json").write_text("{}")
    return folder


def test_a_diffusers_folder_is_read_from_safetensors_alone(cli, faces, library, tmp_path):
    folder = laid_out(tmp_path / "ddpm", "diffusion_pytorch_model.safetensors")
    ended = cli("sdedit", faces / "a.png", "--model", folder, "-o", tmp_path / "x.png", "--samples", 1, "--steps", 20)
    assert ended.code == 0, ended.err
    assert library.read["use_safetensors"]
    assert library.read["local_files_only"]
    assert library.asked == [299, 249, 199, 149, 99, 49], "the library counts levels from 0"
    assert pixels(tmp_path / "x.png").shape == (16, 16, 3)
    library.config.scheduler.config.prediction_type = "v_prediction"
    assert refused(cli, faces, folder)[0] == 5


@pytest.mark.parametrize(
    ("failure", "code"),
    [(AttributeError("'int' object has no attribute 'startswith'"), 5), (ZeroDivisionError(), 5), (MemoryError(), 6)],
)
def test_what_the_library_makes_of_a_damaged_configuration(cli, faces, library, tmp_path, failure, code):
    folder = laid_out(tmp_path / "ddpm", "diffusion_pytorch_model.safetensors")
    library.failure = failure
    assert refused(cli, faces, folder)[0] == code


def test_weights_that_a_diffusers_folder_lacks_are_not_drawn_at_random(cli, faces, library, tmp_path):
    folder = laid_out(tmp_path / "ddpm", "diffusion_pytorch_model.safetensors")
    library.missing = ["mid.weight", "conv_in.bias"]
    code, told = refused(cli, faces, folder)
    assert code == 5
    assert "lacks 2 of its weights, among them conv_in.bias" in told


def test_pickles_and_a_library_that_is_not_there(cli, faces, tmp_path, monkeypatch):
    code, told = refused(cli, faces, laid_out(tmp_path / "old", "diffusion_pytorch_model.bin"))
    assert (code, "pickles are not read" in told) == (5, True)
    monkeypatch.setattr(denoisers, "find_spec", lambda _: None)
    code, told = refused(cli, faces, laid_out(tmp_path / "new", "diffusion_pytorch_model.safetensors"))
    assert (code, "refacer[diffusion]" in told) == (8, True)
