"""`refacer eval` with a tiny pair, tiny pictures and a stand-in for every network."""

import inspect
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.cli import app
from refacer.equipment import Equipment
from refacer.errors import UsageError
from refacer.evaluation import evaluate, networks
from refacer.networks.fid_features import InceptionFeatures
from refacer.networks.identity import DlibIdentity
from refacer.options import EvalOptions, FileOptions


class MeanColors:
    """Three features: a picture's mean colour."""

    suffix, about = "_mean_color", "the mean colour"

    def features(self, pictures):
        return pictures.float().mean((2, 3))


class Brightness:
    """An identity of one number; a dark picture shows no face."""

    name, about, higher = "identity_similarity_brightness", "the mean brightness", True

    def __init__(self) -> None:
        self.calls = 0

    def compare(self, a, b):
        self.calls += 1
        return None if self.calls == 1 else float(1 - (a.mean() - b.mean()).abs())


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(evaluate, "feature_network", lambda equipment: MeanColors())
    monkeypatch.setattr(evaluate, "identity_network", lambda equipment: Brightness())


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve pictures, and the same ones 51 levels brighter in each channel."""
    rng = np.random.default_rng(0)
    for index in range(12):
        pixels = rng.integers(0, 200, (40, 40, 3), dtype=np.uint8)
        for name, shift in (("a", 0), ("b", 51)):
            (tmp_path / name / "deep").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels + np.uint8(shift)).save(tmp_path / name / "deep" / f"{index}.png")
    return tmp_path / "a", tmp_path / "b"


def measures(ended) -> dict[str, dict]:
    return {measure["name"]: measure for measure in json.loads(ended.out)["measures"]}


def test_two_folders(cli, folders):
    ended = cli("eval", *folders, "--json", "--compare-px", 40)
    assert ended.code == 0, ended.err
    found = measures(ended)
    assert list(found) == ["fid_mean_color", "kid_mean_color", "perceptual_discriminator", "l2"]
    assert found["fid_mean_color"]["value"] == pytest.approx(3 * 51**2, rel=1e-6)
    assert found["l2"]["value"] == pytest.approx((51 / 127.5) ** 2, rel=1e-5)
    assert found["l2"]["spread"] == pytest.approx(0, abs=1e-6)
    assert (found["l2"]["count"], found["fid_mean_color"]["more"]) == (12, {"first": 12, "second": 12})
    assert found["perceptual_discriminator"]["value"] > 0
    assert "fid_mean_color" in ended.err


def test_a_set_and_itself(cli, folders):
    found = measures(cli("eval", folders[0], folders[0], "--json"))
    for name in ("fid_mean_color", "perceptual_discriminator", "l2"):
        assert found[name]["value"] == pytest.approx(0, abs=1e-9), name
    assert found["kid_mean_color"]["value"] <= 0, "unbiased: of a set with itself it is below 0"


def test_a_pair(cli, folders, tmp_path, pair):
    options = ("--against", folders[0], "--images", 24, "--codes", 10, "--batch", 4)
    ended = cli("eval", *options, "-o", tmp_path / "made/eval.json", "-q", "--report", tmp_path / "report")
    assert (ended.code, ended.out, ended.err) == (0, b"", "")
    body = json.loads((tmp_path / "made/eval.json").read_text())
    found = {measure["name"]: measure for measure in body["measures"]}
    assert list(found) == ["fid_mean_color", "kid_mean_color", "identity_similarity_brightness"]
    assert found["fid_mean_color"]["more"] == {"first": 24, "second": 12}
    identity = found["identity_similarity_brightness"]
    assert (identity["count"], identity["more"], identity["better"]) == (9, {"codes": 10}, "higher")
    assert body["pair"] == "tiny"
    assert {use["role"] for use in body["weights"]} == {"real", "rendering"}
    assert len((tmp_path / "report").read_text().splitlines()) == 4
    again = cli("eval", *options, "--json", "--pair", pair, "-q")
    assert json.loads(again.out)["measures"] == body["measures"]
    other = cli("eval", *options, "--json", "--seed", 1, "-q")
    assert measures(other)["fid_mean_color"]["value"] != found["fid_mean_color"]["value"]


def test_the_batch_does_not_matter_to_codes(cli):
    first, second = (
        measures(cli("eval", "--codes", 9, "--batch", batch, "--json"))["identity_similarity_brightness"]
        for batch in (9, 4)
    )
    assert first["value"] == pytest.approx(second["value"], rel=1e-5)


def test_pictures_that_do_not_fit_are_told_and_left_out(cli, folders, tmp_path):
    (folders[1] / "deep/3.png").write_bytes(b"no picture")
    Image.new("RGB", (41, 40)).save(folders[1] / "deep/4.png")
    (folders[1] / "deep/5.png").unlink()
    ended = cli("eval", *folders, "--json", "--report", tmp_path / "report")
    assert ended.code == 1
    assert measures(ended)["l2"]["count"] == 9
    assert "1 pictures have no partner" in ended.err
    assert "40x40 and 41x40" in ended.err
    codes = [json.loads(line)["exit_code"] for line in (tmp_path / "report").read_text().splitlines()]
    assert sorted(code for code in codes[:-1] if code) == [4, 5, 5]


def test_a_zip_is_a_set(cli, folders, tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in (folders[1] / "deep").iterdir():
            archive.write(path, f"deep/{path.name}")
    assert measures(cli("eval", folders[0], tmp_path / "b.zip", "--json"))["l2"]["count"] == 12


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["a"], 2, "two folders"),
        (["a", "b", "--against", "a"], 2, "--pair"),
        (["a", "nothing"], 2, "does not exist"),
        (["a", "empty"], 2, "holds no picture"),
        (["a", "a/deep/1.png"], 5, "neither a folder nor a zip"),
        (["--pair", "nobody", "--codes", 1], 8, "nobody"),
    ],
)
def test_what_goes_wrong_has_its_code(cli, folders, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    ended = cli("eval", *arguments)
    assert ended.code == code
    assert says in ended.err


def test_every_option_is_read(cli, folders, tmp_path, monkeypatch):
    seen: set[str] = set()

    def recorded(self, name):
        seen.add(name)
        return object.__getattribute__(self, name)

    for kind in (EvalOptions, FileOptions):
        monkeypatch.setattr(kind, "__getattribute__", recorded)
    assert cli("eval", "--against", folders[0], "--images", 4, "--codes", 2, "-o", tmp_path / "e.json").code == 0
    assert cli("eval", *folders).code == 0
    (folders[1] / "deep/3.png").write_bytes(b"no picture")
    assert cli("eval", *folders).code == 1
    command = next(one.callback for one in app.registered_commands if one.name == "eval")
    assert command is not None
    shown = set(inspect.signature(command).parameters) - {"sets", "against"}
    assert shown <= seen, f"shown but not read: {shown - seen}"


def test_fail_fast_stops_at_the_first_bad_picture(cli, folders):
    for name in ("3", "4"):
        (folders[1] / f"deep/{name}.png").write_bytes(b"no picture")
    ended = cli("eval", *folders, "--fail-fast", "--json")
    assert (ended.code, ended.out, ended.err.count("refacer: error")) == (1, b"", 1)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    for suffix in ("png", "webp"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(UsageError, match="called a"):
        evaluate.PictureSet(tmp_path, 10**6)


def test_the_stand_in_for_inception_bears_another_name():
    equipment = Equipment(device="cpu")
    network = networks.feature_network(equipment)
    assert [use["name"] for use in equipment.facts()["weights"]] == ["efficientnet-lite0"]
    assert network.suffix == "_efficientnet_lite0"
    pictures = torch.randint(0, 256, (3, 3, 64, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = network.features(pictures)
    assert features.shape == (3, 192)
    torch.testing.assert_close(features[1:2], network.features(pictures[1:2]), rtol=1e-4, atol=1e-4)


def test_installed_inception_goes_through_torch_fidelity(monkeypatch, tmp_path):
    """A module of that name that sees what the true one would: a file of the state, and uint8 pictures."""

    class Extractor(torch.nn.Module):
        def __init__(self, name, features_list, feature_extractor_weights_path):
            super().__init__()
            assert features_list == ["2048"]
            self.state = torch.load(feature_extractor_weights_path, weights_only=True)

        def forward(self, pictures):
            assert pictures.dtype == torch.uint8
            return (pictures.float().mean((2, 3)) * self.state["fc.weight"],)

    parent, module = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.__dict__["FeatureExtractorInceptionV3"] = Extractor
    monkeypatch.setitem(sys.modules, parent.__name__, parent)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    network = InceptionFeatures({"fc.weight": torch.tensor(2.0)}, torch.device("cpu"))
    assert network.suffix == ""
    assert network.features(torch.full((2, 3, 8, 8), 7, dtype=torch.uint8)).tolist() == [[14.0] * 3] * 2


def test_dlibs_network_is_the_default_identity():
    equipment = Equipment(device="cpu")
    network = networks.identity_network(equipment)
    assert isinstance(network, DlibIdentity)
    assert (network.name, network.higher) == ("identity_distance_dlib", False)
    used = {use["role"]: (use["name"], use["commercial"]) for use in equipment.facts()["weights"]}
    assert used == {"landmarks": ("dlib-landmarks", "no"), "identity": ("dlib-recognition", "yes")}
