"""`refacer eval` with CurricularFace from a file as published: which network measured is said, with its licence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from refacer.networks.curricular_face import CROP_PX, CurricularFace
from refacer.weights import cache, published
from refacer.weights.formats.recognise import ir_shapes
from refacer.weights.published import load_curricular_face

FACE = tuple(map(tuple, np.random.default_rng(0).uniform(16, 48, (68, 2))))


def one_face(_image, _options):
    """A detector that finds the same landmarks in every picture."""
    return [FACE]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights under the published names, in the published shapes."""
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.empty(shape) for name, shape in ir_shapes("curricularface").items()}
    for name, tensor in drawn.items():
        tensor.normal_(std=(2 / max(tensor[0].numel(), 1)) ** 0.5, generator=generator)
        if name.endswith("running_var"):
            tensor.abs_().add_(1)
    return drawn


@pytest.fixture(scope="module")
def installed(state, tmp_path_factory, cli) -> Path:
    """REFACER_HOME with the file imported: a plain torch.save of the state."""
    folder = tmp_path_factory.mktemp("published")
    torch.save(state, folder / "CurricularFace_Backbone.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFACER_HOME", str(folder / "home"))
        ended = cli("weights", "import", folder / "CurricularFace_Backbone.pth", "--as", "curricularface")
    assert ended.code == 0, ended.err
    return folder / "home"


def test_the_network_is_the_files(state, installed, monkeypatch):
    monkeypatch.setenv("REFACER_HOME", str(installed))
    network = load_curricular_face(torch.device("cpu"))
    expected = CurricularFace()
    expected.load_state_dict(state)
    crop = torch.rand(1, 3, CROP_PX, CROP_PX, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(network(crop), expected.eval()(crop))


def test_eval_takes_it_where_it_is_installed_and_says_so(cli, installed, monkeypatch):
    monkeypatch.setenv("REFACER_HOME", str(installed))
    monkeypatch.setattr(published, "load_dlib_landmarks", lambda _device: one_face)
    ended = cli("eval", "--codes", 1, "--json")
    assert ended.code == 0, ended.err
    (measure,) = json.loads(ended.out)["measures"]
    assert (measure["name"], measure["better"]) == ("identity_similarity_curricularface", "higher")
    assert -1 <= measure["value"] <= 1
    assert "CurricularFace" in measure["about"]
    assert "identity_similarity_curricularface" in ended.err
    used = {use["role"]: use for use in json.loads(ended.out)["weights"]}
    assert used["identity"]["name"] == "curricularface"
    assert "MIT" in used["identity"]["licence"]


def test_a_damaged_file_is_refused(cli, installed, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "weights").mkdir(parents=True)
    for path in (installed / "weights/curricularface").iterdir():
        (home / "weights/curricularface").mkdir(exist_ok=True)
        (home / "weights/curricularface" / path.name).write_bytes(path.read_bytes()[: 2**20])
    monkeypatch.setenv("REFACER_HOME", str(home))
    ended = cli("eval", "--codes", 1)
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert "damaged" in ended.err


@pytest.mark.parametrize("wrong", ["body.48.res_layer.4.running_var", "output_layer.3.bias"])
def test_a_file_with_a_wrong_key_is_not_installed(cli, state, tmp_path, monkeypatch, wrong):
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "home"))
    shared = state["output_layer.3.weight"].flatten()  # the largest; names and shapes suffice for the others
    small = {name: shared[: tensor.numel()].view(tensor.shape) for name, tensor in state.items()}
    small[f"{wrong}.old"] = small.pop(wrong)
    torch.save(small, tmp_path / "c.pth")
    ended = cli("weights", "import", tmp_path / "c.pth", "--as", "curricularface")
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert f"looks like curricularface, but {wrong} is missing" in ended.err
    assert cache.installed("curricularface") is None
