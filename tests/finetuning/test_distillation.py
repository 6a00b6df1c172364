"""`refacer distill` from an empty folder to a pair that translates: result, resuming, refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from refacer.commands import distill as command
from refacer.commands.groups import add_command
from refacer.errors import UsageError
from refacer.finetuning.distillation import DistillationRecipe
from refacer.finetuning.run import Training
from refacer.options import DistillOptions
from refacer.weights.pairs import load_pair

SHORT = DistillOptions(
    batch=4, kimg=0.016, tick_kimg=0.008, block=8, uses=1, adversarial_kimg=0.004, warmup_kimg=0.004, sample_count=4,
    range_faces=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def renders(tmp_path_factory) -> Path:
    """Five smooth random pictures of 64 pixels."""
    folder = tmp_path_factory.mktemp("renders")
    rng = np.random.default_rng(0)
    for i in range(5):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def _distill(renders: Path, folder: Path, pair: Path, options: DistillOptions = SHORT, photos: tuple[Path, ...] = ()):
    recipe = DistillationRecipe([renders], photos, str(pair), options, "cpu")
    return Training(recipe, folder, quiet=True)


@pytest.fixture(scope="module")
def run(renders, pair, tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "fast"
    _distill(renders, folder, pair).go("auto")
    return folder


def test_the_result_is_the_pair_with_a_network_that_translates(run, pair, cli, look, tmp_path):
    given, made = load_pair(str(pair)), load_pair(str(run))
    assert (made.name, made.defaults) == ("fast", given.defaults)
    for role in ("real", "rendering", "discriminator", "parser"):
        assert made.sha256(role) == given.sha256(role)
        assert made.path(role) == run / f"{role}.safetensors"
    assert made.sha256("translator") != given.sha256("translator")
    assert float(made.network("translator").get_buffer("range_levels")[-1]) > 0
    to = tmp_path / "x.png"
    ended = cli("run", look, "-o", to, "--pair", run, "--way", "translate", "--range", "ignore")
    assert ended.code == 0, ended.err
    assert not np.array_equal(np.asarray(Image.open(to)), np.asarray(Image.open(look)))


def test_an_embedded_pair_s_networks_are_named_not_copied(run, renders, tmp_path):
    recipe = DistillationRecipe([renders], [], "studio", SHORT, "cpu")
    trainer = Training(recipe, tmp_path / "run", quiet=True)._trainer("auto")
    files = recipe.encode_result("mine", trainer)
    assert set(files) == {"pair.json", "translator.safetensors"}
    networks, embedded = json.loads(files["pair.json"])["networks"], load_pair("studio")
    for role in ("real", "rendering", "discriminator", "parser"):
        assert networks[role] == {"sha256": embedded.sha256(role)}


def test_log_samples_and_report_show_what_happens(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [8, 16]
    assert {"loss/likeness", "loss/coarse", "loss/realism", "loss/discriminator", "change"} <= lines[-1]["means"].keys()
    with Image.open(run / "samples/000000016.png") as samples:
        assert samples.size == (4 * 64, 2 * 64)
    page = (run / "report.html").read_text()
    for words in ("refacer distill: fast", "its translation", "rendering: tiny", "EfficientNet", "glint_frac"):
        assert words in page


def test_a_resumed_run_ends_as_an_unbroken_one(run, renders, pair, tmp_path):
    again = tmp_path / "fast"
    shutil.copytree(run, again)
    first = min((again / "checkpoints").iterdir())
    (again / "translator.safetensors").unlink()
    _distill(renders, again, pair).go(str(first))
    for name in ("translator.safetensors", "pair.json"):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name
    whole, resumed = ((folder / "log.jsonl").read_text().splitlines() for folder in (run, again))
    assert [json.loads(line)["means"] for line in resumed] == [json.loads(line)["means"] for line in whole]


def test_photos_are_data_too(renders, pair, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(renders, photos)
    (photos / "text.png").write_text("not a picture")
    _distill(renders, tmp_path / "run", pair, photos=(photos,)).go("auto")
    assert json.loads((tmp_path / "run/config.json").read_text())["photos_count"] == 10
    assert [Path(one["name"]).name for one in json.loads((tmp_path / "run/refused.json").read_text())["left_out"]] == [
        "text.png"
    ]
    with pytest.raises(UsageError, match="--photos"):
        _distill(renders, tmp_path / "run", pair).go("auto")
    (photos / "0.png").unlink()
    with pytest.raises(UsageError, match="the number of photos"):
        _distill(renders, tmp_path / "run", pair, photos=(photos,)).go("auto")


def test_another_configuration_is_refused_with_the_difference(run, renders, pair, cli, tmp_path):
    told = {
        ("--lr", "0.5"): "--lr (0.001 there, 0.5 here)",
        ("--kimg", "0.5"): "--kimg (0.016 there, 0.5 here)",
        ("--pair", "studio"): "rendering generator",
    }
    short = ("--batch", 4, "--kimg", 0.016)
    for changed, words in told.items():
        ended = cli("distill", renders, "-o", run, "--pair", pair, *short, *changed)
        assert (ended.code, words in ended.err) == (2, True), ended.err


def test_what_cannot_be_is_refused_before_anything_is_made(run, renders, pair, cli, tmp_path):
    facts = json.loads((pair / "pair.json").read_text())
    lone = tmp_path / "lone"
    lone.mkdir()
    shutil.copy(pair / "real.safetensors", lone)
    facts["networks"] = {"real": facts["networks"]["real"]}
    (lone / "pair.json").write_text(json.dumps(facts))
    out = tmp_path / "out"
    for arguments, code, words in (
        (("--pair", lone), 8, "no rendering"),
        (("--kimg", "0"), 2, "--kimg"),
        (("--kimg", "nan"), 2, "--kimg"),
        (("--lr", "nan"), 2, "--lr"),
        (("--range-faces", "1"), 2, "--range-faces"),
        (("--photos", tmp_path / "nowhere"), 2, "nowhere"),
        (("--resume", tmp_path / "nowhere"), 2, "nowhere"),
    ):
        ended = cli("distill", renders, "-o", out, *arguments)
        assert ended.code == code, (arguments, ended.err)
        assert words in ended.err, (arguments, ended.err)
        assert not out.exists(), arguments
    with pytest.raises(UsageError, match="--kimg 0"):
        DistillationRecipe([renders], [], str(pair), DistillOptions(kimg=0), "cpu")
    ended = cli("finetune", renders, "-o", run, "--base", pair)
    assert (ended.code, "a run of `refacer distill`" in ended.err) == (2, True), ended.err


def test_several_processes_are_refused(renders, pair, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun"):
        DistillationRecipe([renders], [], str(pair), SHORT, "cpu")


def test_values_are_told_by_the_options_that_set_them(renders, pair):
    """Every value of a configuration is named as the command has it, and only where the command has it."""
    recipe = DistillationRecipe([renders], [], str(pair), DistillOptions(), "cpu")
    configuration = recipe.configuration()
    names = [*configuration.pop("options"), *configuration.pop("network"), *configuration]
    app = typer.Typer()
    add_command(app, command.distill, command.EXAMPLE)
    known = {option for parameter in typer.main.get_command(app).params for option in parameter.opts}
    spelled = {name: recipe.spelled(name) for name in names}
    assert {name for name in names if spelled[name] in known} >= {"lr", "tick_kimg", "schedule_kimg", "range_faces"}
    assert [name for name in names if spelled[name].startswith("--") and spelled[name] not in known] == []
    assert [name for name in names if spelled[name] == name and f"--{name.replace('_', '-')}" in known] == []


@pytest.fixture(autouse=True)
def not_deterministic_afterwards():
    yield
    torch.use_deterministic_algorithms(False)
