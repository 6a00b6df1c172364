"""`refacer finetune` from an empty folder to a pair: run folder, log, resuming, refusals."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from refacer.commands import finetune as command
from refacer.commands.groups import add_command
from refacer.errors import UsageError
from refacer.finetuning.folder import RunFolder
from refacer.finetuning.pair_range import faces_of
from refacer.finetuning.record import Observation
from refacer.finetuning.run import Training
from refacer.finetuning.style import StyleRecipe
from refacer.options import SCRATCH, FinetuneOptions, NetworkOptions, ProjectOptions
from refacer.stages.inversion import invert_each
from refacer.stages.project import Optimiser
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Tick
from refacer.training.processes import Processes
from refacer.training.statistics import Statistics
from refacer.weights.bases import load_base
from refacer.weights.choices import choose
from refacer.weights.pairs import load_pair

CPU = torch.device("cpu")
SIZES = NetworkOptions(channel_base=128, channel_max=8, z_dim=8, w_dim=8, mapping_layers=2)
SHORT = {"batch": 4, "kimg": 0.016, "tick_kimg": 0.008, "sample_count": 8}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def base(pictures: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    options = FinetuneOptions(**{**SHORT, **SCRATCH})
    Training(StyleRecipe([pictures], None, options, SIZES, 16, "cpu"), folder, quiet=True).go("auto")
    return folder


def _finetune(pictures: Path, folder: Path, base: Path, **changed: object) -> Training:
    options = FinetuneOptions(**{**SHORT, **changed})  # type: ignore[arg-type]
    return Training(StyleRecipe([pictures], str(base), options, device="cpu"), folder, quiet=True)


def test_from_scratch_ends_in_a_base_and_finetune_in_a_pair(pictures, base, tmp_path):
    assert load_base(str(base)).generator.img_resolution == 16
    _finetune(pictures, tmp_path / "run", base).go("auto")
    pair = load_pair(str(tmp_path / "run"))
    real, rendering = (pair.generator(role, torch.device("cpu")).state_dict() for role in ("real", "rendering"))
    for name, tensor in real.items():
        shared = name.startswith("mapping.") or ".torgb." in name or name.endswith(("resample_filter", "noise_const"))
        assert torch.equal(tensor, rendering[name]) or not shared, name
    assert any(not torch.equal(tensor, rendering[name]) for name, tensor in real.items())


def test_the_pair_carries_the_base_s_own_discriminator(pictures, base, tmp_path):
    before = load_base(str(base)).discriminator
    _finetune(pictures, tmp_path / "run", base).go("auto")
    carried = load_pair(str(tmp_path / "run")).discriminator(torch.device("cpu"))
    assert before is not None
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, carried.state_dict()[name]), name


def test_the_pair_knows_its_range(pictures, base, tmp_path):
    _finetune(pictures, tmp_path / "run", base).go("auto")
    assert not load_pair(str(tmp_path / "run")).distances
    facts = json.loads((tmp_path / "run/pair.json").read_text())
    facts["defaults"]["steps"] = 2  # of the pair that the second style starts from
    (tmp_path / "run/pair.json").write_text(json.dumps(facts))
    _finetune(pictures, tmp_path / "second", tmp_path / "run").go("auto")
    before = (tmp_path / "second/rendering.safetensors").read_bytes()
    again = _finetune(pictures, tmp_path / "second", tmp_path / "run", range_faces=2)
    again.go("auto")
    pair = load_pair(str(tmp_path / "second"))
    assert (pair.defaults.steps, len(pair.distances)) == (2, 101)
    assert (tmp_path / "second/rendering.safetensors").read_bytes() == before
    rendering, faces = pair.generator("rendering", CPU), faces_of(again.data["data"], 2, CPU)
    options = ProjectOptions(steps=2, lr=pair.defaults.lr)
    optimiser = Optimiser(choose("perceptual", "pair", pair).load(CPU), pair.w_std, options)
    found = sorted(float(one.distance[0]) for one in invert_each(faces, rendering, optimiser))
    assert [pair.distances[0], pair.distances[-1]] == pytest.approx(found, rel=1e-3)
    assert pair.distances[50] == pytest.approx(sum(found) / 2, rel=1e-3)
    with pytest.raises(UsageError, match="--range-faces"):
        _finetune(pictures, tmp_path / "third", base, range_faces=2, from_scratch=True)


def test_a_style_goes_on_where_a_pair_s_own_ended(pictures, base, tmp_path):
    """Without a step, the new rendering generator is the old one; the realistic one stays the pair's."""
    _finetune(pictures, tmp_path / "run", base).go("auto")
    _finetune(pictures, tmp_path / "more", tmp_path / "run", init="rendering", lr=0.0, ema_kimg=0.0).go("auto")
    old, new = (load_pair(str(tmp_path / name)) for name in ("run", "more"))
    assert old.sha256("rendering") != old.sha256("real")
    for role in ("real", "rendering"):
        tensors = new.generator(role, CPU).state_dict()
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in old.generator(role, CPU).state_dict().items())
    with pytest.raises(UsageError, match=r"--init \(rendering there, real here\)"):
        _finetune(pictures, tmp_path / "more", tmp_path / "run", lr=0.0, ema_kimg=0.0).go("auto")
    _finetune(pictures, tmp_path / "other", base, seed=1).go("auto")
    with pytest.raises(UsageError, match="--init"):
        _finetune(pictures, tmp_path / "more", tmp_path / "other", init="rendering", lr=0.0, ema_kimg=0.0).go("auto")


@pytest.mark.parametrize("changed", [{}, SCRATCH])
def test_there_must_be_a_style_to_go_on_with(pictures, base, tmp_path, changed):
    with pytest.raises(UsageError, match="--init rendering"):
        _finetune(pictures, tmp_path / "run", base, init="rendering", **changed)


def test_a_style_of_a_pair_that_translates_works_by_itself(pictures, base, tmp_path):
    """The distilled network is the old pair's, so `run` must not ask for one."""
    _finetune(pictures, tmp_path / "run", base).go("auto")
    facts = json.loads((tmp_path / "run/pair.json").read_text())
    facts["defaults"]["way"] = "translate"
    (tmp_path / "run/pair.json").write_text(json.dumps(facts))
    _finetune(pictures, tmp_path / "second", tmp_path / "run").go("auto")
    pair = load_pair(str(tmp_path / "second"))
    assert (pair.defaults.way, pair.has("translator")) == ("project", False)


def test_the_log_proves_that_nothing_idles(pictures, base, tmp_path):
    _finetune(pictures, tmp_path / "run", base, r1_interval=2, pl_interval=2).go("auto")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [8, 16]
    for line in lines:
        assert {"loss/r1", "loss/path_length", "loss/sketch", "loss/color"} <= line["means"].keys()
        assert line["weighted"]["loss/sketch"] == pytest.approx(line["means"]["loss/sketch"] * 5e-6)
        assert line["weighted"]["loss/color"] == pytest.approx(line["means"]["loss/color"] * 3750)
        assert set(line["gradient_relative"]) == {"adversarial", "sketch", "color"}
        assert {"augment_p", "seconds_per_kimg"} <= line.keys()
    assert len(list((tmp_path / "run/samples").glob("*.png"))) == 2


def test_the_same_command_goes_on_and_equals_an_unbroken_run(pictures, base, tmp_path):
    _finetune(pictures, tmp_path / "whole", base).go("auto")
    _finetune(pictures, tmp_path / "broken", base, kimg=0.008).go("auto")
    _finetune(pictures, tmp_path / "broken", base).go("auto")
    whole, broken = (tmp_path / name / "rendering.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()


def test_a_tick_that_no_checkpoint_holds_is_logged_once(pictures, base, tmp_path):
    folder = tmp_path / "run"
    _finetune(pictures, folder, base).go("auto")
    max((folder / "checkpoints").iterdir()).unlink()
    _finetune(pictures, folder, base).go("auto")
    assert [json.loads(line)["images_seen"] for line in (folder / "log.jsonl").read_text().splitlines()] == [8, 16]


def test_another_configuration_is_refused_with_the_difference(pictures, base, tmp_path):
    _finetune(pictures, tmp_path / "run", base).go("auto")
    with pytest.raises(UsageError, match=r"gamma \(10.0 there, 3.0 here\)"):
        _finetune(pictures, tmp_path / "run", base, gamma=3.0).go("auto")


def test_a_base_can_be_grown(pictures, base, tmp_path):
    options = FinetuneOptions(**{**SHORT, **SCRATCH})
    recipe = StyleRecipe([pictures], str(base), options, SIZES, 32, "cpu")
    Training(recipe, tmp_path / "grown", quiet=True).go("auto")
    assert load_base(str(tmp_path / "grown")).generator.img_resolution == 32
    with pytest.raises(UsageError, match="resolution"):
        StyleRecipe([pictures], str(base), FinetuneOptions(**SHORT), SIZES, 32, "cpu")


def test_a_set_that_cannot_be_used_leaves_no_folder(base, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        _finetune(tmp_path / "empty", tmp_path / "run", base).go("auto")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_split_is_refused(pictures, base, tmp_path):
    with pytest.raises(UsageError, match="--accumulate 3"):
        _finetune(pictures, tmp_path / "run", base, accumulate=3)


def test_unusual_pictures_are_reported_everywhere_and_stop_nothing(pictures, base, tmp_path, capsys):
    Image.new("CMYK", (16, 16)).save(pictures / "print.jpg")
    Image.new("RGB", (40, 40)).save(pictures / "large.png")
    Image.new("RGB", (16, 12)).save(pictures / "wide.png")
    (pictures / "text.png").write_text("not a picture")
    _finetune(pictures, tmp_path / "run", base, kimg=0.008).go("auto")
    reported = json.loads((tmp_path / "run/refused.json").read_text())
    assert [Path(entry["name"]).name for entry in reported["left_out"]] == ["text.png", "wide.png"]
    assert "not square" in reported["left_out"][1]["reason"]
    assert [Path(entry["name"]).name for entry in reported["converted"]] == ["large.png", "print.jpg"]
    for told in (capsys.readouterr().err, (tmp_path / "run/log.txt").read_text()):
        for words in ("wide.png", "text.png", "40 pixels, resized to 16: 1 of the pictures", "CMYK"):
            assert words in told
    assert (tmp_path / "run/pair.json").is_file()


def test_values_are_told_by_the_options_that_set_them(base):
    """Every value of a configuration is named as the command has it, and only where the command has it."""
    recipe = StyleRecipe([], str(base), FinetuneOptions(), device="cpu")
    configuration = recipe.configuration()
    names = [*configuration.pop("options"), *configuration.pop("network"), *configuration]
    app = typer.Typer()
    add_command(app, command.finetune, command.EXAMPLE)
    known = {option for parameter in typer.main.get_command(app).params for option in parameter.opts}
    spelled = {name: recipe.spelled(name) for name in names}
    assert {name for name in names if spelled[name] in known} >= {"lr", "ada_kimg", "tick_kimg", "z_dim", "base_sha256"}
    assert [name for name in names if spelled[name].startswith("--") and spelled[name] not in known] == []
    assert [name for name in names if spelled[name] == name and f"--{name.replace('_', '-')}" in known] == []


class Counter:
    """A trainer of another kind: a number that each step moves at random."""

    def __init__(self) -> None:
        self.options = FinetuneOptions(kimg=0.012, tick_kimg=0.004, batch=2)
        self.processes, self.statistics = Processes(), Statistics(torch.device("cpu"))
        self.images_seen, self.value = 0, torch.zeros([])

    def step(self) -> None:
        self.value = self.value * 0.5 + torch.rand([], generator=torch.Generator().manual_seed(self.images_seen))
        self.statistics.add("value", self.value)
        self.images_seen += self.options.batch

    def measure(self) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"images_seen": self.images_seen, "value": self.value, "statistics": self.statistics.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.images_seen, self.value = state["images_seen"], state["value"]
        self.statistics.load_state_dict(state["statistics"])


class CountingRecipe:
    """Without pictures, networks or pairs of samples."""

    command, sample_order, device = "refacer count", "", torch.device("cpu")
    options = FinetuneOptions()

    def __init__(self, speed: int = 1) -> None:
        self.speed = speed

    def configuration(self) -> dict[str, Any]:
        return {"options": {"speed": self.speed}}

    def spelled(self, name: str) -> str:
        return f"--{name}"

    def load_data(self) -> dict[str, FaceDataset]:
        return {}

    def make_trainer(self, data: object, folder: RunFolder, processes: Processes) -> Counter:
        return Counter()

    def observe(self, trainer: Counter, tick: Tick) -> Observation:
        return Observation({"value": float(trainer.value)}, [trainer.value.expand(2, 3, 8, 8)])

    def licences(self) -> dict[str, str]:
        return {"numbers": "free"}

    def encode_result(self, name: str, trainer: Counter) -> dict[str, bytes]:
        return {"result.txt": f"{name} {float(trainer.value)}".encode()}


def test_another_recipe_has_the_same_folder_resume_report_and_refusals(tmp_path, monkeypatch):
    folder = tmp_path / "count"
    Training(CountingRecipe(), tmp_path / "whole", quiet=True).go("auto")
    step = Counter.step

    def stopped(counter: Counter) -> None:
        step(counter)
        if counter.images_seen == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Counter, "step", stopped)
        with pytest.raises(SystemExit) as stop:
            Training(CountingRecipe(), folder, quiet=True).go("auto")
    assert stop.value.code == 143
    with pytest.raises(UsageError, match=r"--speed \(1 there, 2 here\)"):
        Training(CountingRecipe(2), folder, quiet=True).go("auto")
    Training(CountingRecipe(), folder, quiet=True).go("auto")
    logs = ((place / "log.jsonl").read_text().splitlines() for place in (folder, tmp_path / "whole"))
    values, whole = ([json.loads(line)["value"] for line in log] for log in logs)
    assert values == whole
    assert (folder / "result.txt").read_text() == f"count {whole[-1]}"
    page = (folder / "report.html").read_text()
    assert "refacer count: count" in page
    assert "Identity" not in page
    assert not (folder / "refused.json").exists()
