"""Published encoders from their files to codes: `project --inverter psp` and its kin."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.files import read_passport
from refacer.networks.encoders import FaceEncoder
from refacer.options import EncoderName
from refacer.weights import cache
from refacer.weights.convert import convert
from refacer.weights.loaders import encoder_config, read_network
from refacer.weights.pairs import load_pair
from tests.weights import writers

KINDS: tuple[EncoderName, ...] = ("psp", "e4e", "restyle-psp", "restyle-e4e")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(tmp_path_factory, pair) -> Path:
    """A folder with a file of each encoder for the tiny pair's generator, and of one for another generator."""
    folder = tmp_path_factory.mktemp("published")
    generator = load_pair(str(pair)).generator("real", CPU)
    for kind in KINDS:
        (folder / f"{kind}.pt").write_bytes(writers.torch_file(writers.encoder(kind, generator, n_iters_per_batch=2)))
    content = writers.encoder("psp", generator)
    content["latent_avg"] = content["latent_avg"] + 3
    (folder / "other.pt").write_bytes(writers.torch_file(content))
    return folder


@pytest.fixture
def imported(published, tmp_path, monkeypatch):
    """A function: name of a file -> it is installed as a kind of encoder."""
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "home"))

    def install(file: str, kind: str) -> None:
        made = convert(published / f"{file}.pt", kind)  # as `weights import`, which asks for the published hash besides
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in made.files.items()}
        cache.put(cache.Record(kind, "ab" * 32, 1, "import", kind, made.notes, hashes), made.files)

    return install


@pytest.mark.parametrize("kind", KINDS)
def test_its_codes_are_those_of_the_published_network(kind, published, imported, pair, cli, stages, tmp_path):
    imported(kind, kind)
    face = stages / "display.face.png"
    ended = cli("project", face, "-o", tmp_path / "c.npy", "--inverter", kind, "--into", "real", "--json")
    assert ended.code == 0, ended.err
    content = torch.load(published / f"{kind}.pt", weights_only=True)
    found = cache.installed(kind)
    assert found is not None
    network = FaceEncoder(encoder_config(read_network(found.path("network.safetensors"), kind)[1]["network"])).eval()
    own = {name: value for name, value in content["state_dict"].items() if name.startswith("encoder.")}
    network.load_state_dict({**own, "latent_avg": content["latent_avg"]})
    pixels = torch.from_numpy(np.asarray(Image.open(io.BytesIO(face.read_bytes())).convert("RGB")).copy())
    image = pixels.permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        codes = network(image, load_pair(str(pair)).generator("real", CPU))
    np.testing.assert_allclose(np.load(tmp_path / "c.npy"), codes.numpy(), atol=1e-4)
    record = read_passport(tmp_path / "c.npy").faces[0].stages[-1]
    assert record.parameters["inverter"] == kind
    assert set(record.models) == {"real", "encoder"}
    assert json.loads(ended.out)["results"][0]["distance"] > 0


def test_the_whole_job_by_an_encoder(imported, cli, stages, tmp_path):
    imported("e4e", "e4e")
    ended = cli("run", stages / "look.png", "-o", tmp_path / "x.png", "--inverter", "e4e", "--range", "ignore")
    assert ended.code == 0, ended.err
    stage = read_passport(tmp_path / "x.png").faces[0].stages[1]
    assert (stage.stage, stage.parameters["inverter"]) == ("project", "e4e")


def test_what_does_not_fit_is_refused_in_one_line(imported, published, cli, stages, tmp_path):
    face, out = stages / "display.face.png", tmp_path / "c.npy"
    ended = cli("project", face, "-o", out, "--inverter", "psp")
    assert (ended.code, "refacer weights pull psp" in ended.err) == (8, True), ended.err
    ended = cli("weights", "import", published / "psp.pt", "--as", "restyle-psp")
    assert (ended.code, "holds psp, not restyle-psp" in ended.err) == (5, True), ended.err
    imported("other", "psp")
    ended = cli("project", face, "-o", out, "--inverter", "psp")
    assert (ended.code, "another generator's" in ended.err) == (4, True), ended.err
    ended = cli("project", face, "-o", out, "--inverter", "psp", "--pair", "studio")
    assert (ended.code, "the encoder gives codes (10, 16)" in ended.err) == (4, True), ended.err
    ended = cli("project", face, "-o", out, "--inverter", "swim")
    assert (ended.code, "choose among optimise, ii2s, psp" in ended.err) == (2, True), ended.err
    assert not out.exists()
