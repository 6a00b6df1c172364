"""Assembling the embedded pair: its files, its facts, what it refuses."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.errors import InputRefused, ShapeMismatch, UsageError
from refacer.finetuning.style import encode_pair
from refacer.networks.parser import StudioParser
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.weights.bases import Base
from refacer.weights.choices import choose
from refacer.weights.loaders import encode_network
from refacer.weights.pair_json import PairDefaults
from refacer.weights.pairs import Pair, load_pair
from refacer.weights.registry import sha256_of
from tools.studio import assemble
from tools.studio.assemble import sizes

CPU = torch.device("cpu")
SIZES = {"img_resolution": 16, "channel_base": 64, "channel_max": 8}
PARSER = {"channels": [4, 4], "image_px": 16, "patch_px": 4}


def _tuned(real: Generator) -> Generator:
    """A rendering generator that shares the mapping network and the ToRGB layers."""
    rendering = copy.deepcopy(real)
    with torch.no_grad():
        rendering.get_parameter("synthesis.b16.conv1.weight").add_(0.1)
    return rendering


def _run(folder: Path, licence: str = "CC0-1.0", tune=_tuned) -> Pair:
    torch.manual_seed(0)
    real = Generator(GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, **SIZES))
    base = Base(real, Discriminator(DiscriminatorConfig(**SIZES)), "", licence, "yes", None)
    facts = {"licence": licence, "commercial": "yes", "kimg": 3.0}
    folder.mkdir()
    for name, data in encode_pair("run", base, tune(real), facts).items():
        (folder / name).write_bytes(data)
    return load_pair(str(folder))


@pytest.fixture
def parser_file(tmp_path) -> Path:
    path = tmp_path / "parser.safetensors"
    path.write_bytes(encode_network(StudioParser(**PARSER), "parser", PARSER))
    return path


def test_the_pair_carries_all_four_networks(tmp_path, parser_file):
    run = _run(tmp_path / "run")
    files = assemble.assemble(run, parser_file, PairDefaults(70, 0.1, 0.9, 0.02), {"blocks": [0, 1]})
    out = tmp_path / "studio"
    out.mkdir()
    for name, data in files.items():
        (out / name).write_bytes(data)
    pair = load_pair(str(out))
    assert (pair.name, pair.licence, pair.commercial, pair.resolution) == ("studio", "CC0-1.0", "yes", 16)
    assert (pair.defaults, pair.facts["perceptual"]) == (PairDefaults(70, 0.1, 0.9, 0.02), {"blocks": [0, 1]})
    assert pair.w_std == run.w_std
    for role in ("real", "rendering", "discriminator", "parser"):
        assert pair.path(role) == out / f"{role}.safetensors"
    assert pair.sha256("rendering") == run.sha256("rendering"), "half precision is stored once, not rounded again"
    assert files["parser.safetensors"] == parser_file.read_bytes()
    assert choose("perceptual", "pair", pair).load(CPU).features(torch.zeros(1, 3, 16, 16)).shape[0] == 1


def test_the_runs_own_settings_stay_where_none_are_given(tmp_path, parser_file):
    run = _run(tmp_path / "run")
    facts = json.loads(assemble.assemble(run, parser_file, run.defaults)["pair.json"])
    rest = {"psi": 1.0, "prior": 0.0, "axes": "codes", "paste": "auto", "strength": 1.0, "way": "project"}
    assert facts["defaults"] == {**run.facts["defaults"], **rest}
    assert facts["perceptual"] == {"network": "efficientnet-lite0"}


def test_translator_defaults_and_range_are_as_asked_for(tmp_path, parser_file, monkeypatch, capsys):
    run, translator = _run(tmp_path / "run"), Translator(TranslatorConfig(32, (4, 4, 8, 8)))
    (tmp_path / "translator.safetensors").write_bytes(encode_network(translator, "translator", translator.settings))
    rng = np.random.default_rng(0)
    (tmp_path / "renders").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"renders/{i}.png")
    chosen = ["--steps", "2", "--paste", "change", "--strength", "1.5", "--way", "translate"]
    chosen += ["--translator", f"{tmp_path}/translator.safetensors", "--range", f"{tmp_path}/renders"]
    files = ["--run", str(run.folder), "--parser", str(parser_file), "--out", str(tmp_path / "studio")]
    monkeypatch.setattr("sys.argv", ["assemble", *files, *chosen, "--range-faces", "2"])
    assemble.main()
    pair = load_pair(str(tmp_path / "studio"))
    assert pair.defaults == PairDefaults(2, run.defaults.lr, 1.0, 0.0, "change", 1.5, "translate")
    assert pair.sha256("translator") == sha256_of(tmp_path / "translator.safetensors")
    assert 0 < pair.distances[0] < pair.distances[-1]
    assert "translator.safetensors" in json.loads(capsys.readouterr().out)
    again = assemble.assemble(pair, parser_file, replace(pair.defaults, psi=0.5))
    assert json.loads(again["pair.json"])["range"] == pair.facts["range"], "it depends on the projection alone"
    again = assemble.assemble(pair, parser_file, replace(pair.defaults, steps=3))
    assert "range" not in json.loads(again["pair.json"])


def test_defaults_that_no_pair_can_have_are_refused(tmp_path, parser_file):
    run = _run(tmp_path / "run")
    with pytest.raises(UsageError, match="strength"):
        assemble.assemble(run, parser_file, replace(run.defaults, strength=float("nan")))


def test_generators_that_share_no_codes_are_refused(tmp_path, parser_file):
    def other_mapping(real: Generator) -> Generator:
        rendering = copy.deepcopy(real)
        with torch.no_grad():
            rendering.get_parameter("mapping.fc1.weight").add_(1)
        return rendering

    run = _run(tmp_path / "run", tune=other_mapping)
    with pytest.raises(ShapeMismatch, match=r"mapping\.fc1"):
        assemble.assemble(run, parser_file, run.defaults)


def test_networks_that_are_not_free_are_refused(tmp_path, parser_file):
    run = _run(tmp_path / "run", licence="proprietary")
    with pytest.raises(UsageError, match="proprietary"):
        assemble.assemble(run, parser_file, run.defaults)


def test_too_many_bytes_are_refused():
    assert sizes({"a": b"12", "b": b"345"})["total"] == 5
    with pytest.raises(InputRefused, match=r"60\.0 MB"):
        sizes({"a": bytes(assemble.MAX_BYTES + 1)})
