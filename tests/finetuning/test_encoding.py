"""`refacer train-encoder` from an empty folder to a pair whose faces have their codes at once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.files import read_passport
from refacer.files.codes import read_offsets
from refacer.finetuning.encoding import EncoderRecipe
from refacer.finetuning.run import Training
from refacer.options import EncoderOptions
from refacer.weights.choices import uses_of_run
from refacer.weights.pairs import load_pair
from refacer.weights.registry import weight

SHORT = EncoderOptions(kind="psp", batch=4, kimg=0.016, tick_kimg=0.008, samples=0.5, sample_count=4, optimizer="adam")


@pytest.fixture(scope="module")
def renders(tmp_path_factory) -> Path:
    """Five smooth random pictures of 64 pixels."""
    folder = tmp_path_factory.mktemp("renders")
    rng = np.random.default_rng(0)
    for i in range(5):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


def _train(faces: list[Path], folder: Path, pair: Path, options: EncoderOptions = SHORT) -> Training:
    return Training(EncoderRecipe(faces, str(pair), options, "cpu"), folder, quiet=True)


@pytest.fixture(scope="module")
def run(renders, pair, tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "quick"
    _train([renders], folder, pair).go("auto")
    return folder


def test_the_result_is_the_pair_with_an_encoder(run, pair, cli, stages, tmp_path):
    """Its codes are the start by default, and with no steps the result."""
    given, made = load_pair(str(pair)), load_pair(str(run))
    assert made.defaults == given.defaults
    for role in ("real", "rendering", "discriminator", "parser", "translator"):
        assert made.sha256(role) == given.sha256(role)
    face, told = stages / "display.face.png", {}
    for name, options in {"usual": (), "named": ("--init", "encoder"), "mean": ("--init", "mean"), "alone": ()}.items():
        steps = ("--steps", 0) if name == "alone" else ()
        ended = cli("project", face, "-o", tmp_path / f"{name}.npy", "--pair", run, *options, *steps)
        assert ended.code == 0, ended.err
        told[name] = np.load(tmp_path / f"{name}.npy")
    assert np.array_equal(told["usual"], told["named"])
    assert not np.array_equal(told["usual"], told["mean"])
    assert 0 < np.abs(told["alone"] - told["usual"]).max() < 0.5  # two steps away
    ended = cli(
        "run", stages / "look.png", "-o", tmp_path / "x.png", "--pair", run, "--steps", 0, "--report", tmp_path / "r"
    )
    assert ended.code == 0, ended.err
    assert "encoder" in [use["role"] for use in json.loads((tmp_path / "r").read_text().splitlines()[-1])["weights"]]


def test_log_samples_and_report_show_what_happens(run):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [8, 16]
    assert {"loss/l2", "loss/perceptual", "loss/code"} <= lines[-1]["means"].keys()
    with Image.open(run / "samples/000000016.png") as samples:
        assert samples.size == (4 * 64, 2 * 64)
    page = (run / "report.html").read_text()
    for words in ("refacer train-encoder: quick", "the picture of its code", "rendering: tiny", "--code-weight"):
        assert words in page


def test_a_resumed_run_ends_as_an_unbroken_one(run, renders, pair, tmp_path):
    again = tmp_path / "quick"
    shutil.copytree(run, again)
    first = min((again / "checkpoints").iterdir())
    (again / "encoder.safetensors").unlink()
    _train([renders], again, pair).go(str(first))
    for name in ("encoder.safetensors", "pair.json"):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name


def test_without_faces_it_learns_from_the_generator_s_own(pair, tmp_path):
    options = EncoderOptions(kind="e4e", batch=2, kimg=0.002, tick_kimg=0.002, sample_count=2, into="real")
    _train([], tmp_path / "run", pair, options).go("auto")
    made = load_pair(str(tmp_path / "run"))
    config = made.network("encoder").config
    assert (config.kind, config.into) == ("e4e", "real")  # pyright: ignore[reportAttributeAccessIssue]
    assert json.loads((tmp_path / "run/config.json").read_text())["pictures"] == "the generator's own"


def test_a_linear_encoder_is_a_start_and_a_way_of_its_own(renders, pair, cli, stages, tmp_path):
    """The passport names the encoder and what it looks through, and so do the licences."""
    _train([renders], tmp_path / "run", pair, replace(SHORT, kind="linear", lr=1e-3)).go("auto")
    uses = {use.role: use.name for use in uses_of_run(load_pair(str(tmp_path / "run")))}
    assert uses["what the encoder looks through"] == "efficientnet-lite0"
    face = stages / "display.face.png"
    for name, options in {"start": (), "way": ("--inverter", "linear")}.items():
        ended = cli("project", face, "-o", tmp_path / f"{name}.npy", "--pair", tmp_path / "run", *options)
        assert ended.code == 0, ended.err
        models = read_passport(tmp_path / f"{name}.npy").faces[0].stages[-1].models
        assert models["trunk"] == weight("efficientnet-lite0").sha256
        assert models["encoder"] == load_pair(str(tmp_path / "run")).sha256("encoder")
    ended = cli("project", face, "-o", tmp_path / "no.npy", "--pair", pair, "--inverter", "linear")
    assert (ended.code, "--kind linear --into rendering" in ended.err) == (8, True), ended.err


def test_what_does_not_fit_is_refused_in_one_line(run, renders, pair, cli, stages, tmp_path):
    face, to = stages / "display.face.png", tmp_path / "c.npy"
    short = ("--kind", "psp", "--batch", 4, "--kimg", 0.016, "--samples", 0.5, "--optimizer", "adam")
    train = ("train-encoder", renders, "--pair", pair, "-o")
    for arguments, code, words in (
        (("project", face, "-o", to, "--init", "encoder"), 8, "carries no encoder; train one"),
        (("project", face, "-o", to, "--steps", 0), 2, "--steps 0: without steps"),
        (("project", face, "-o", to, "--pair", run, "--init", "mean", "--steps", 0), 2, "--steps 0: without steps"),
        (("project", face, "-o", to, "--pair", run, "--init", "encoder", "--into", "real"), 2, "--into rendering"),
        (
            (*train, run, *short, "--lr", 0.5),
            2,
            "--lr (0.0001 there, 0.5 here)",
        ),
        ((*train, run, *short[2:], "--kind", "e4e"), 2, "--kind (psp there"),
        ((*train, tmp_path / "out", "--kimg", "0"), 2, "--kimg"),
        ((*train, tmp_path / "out", "--kind", "psp", "--looks", 2), 2, "psp looks once"),
        ((*train, run, *short, "--trunk", "efficientnet-lite0"), 2, "--trunk (own there"),
        (("distill", renders, "-o", run, "--pair", pair), 2, "a run of `refacer train-encoder`"),
    ):
        ended = cli(*arguments)
        assert (ended.code, words in ended.err) == (code, True), (arguments, ended.err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trunk", ["own", "efficientnet-lite0"])
def test_a_pair_with_hyperstyle_draws_the_same_elsewhere(renders, pair, cli, stages, tmp_path, trunk):
    options = replace(SHORT, kind="hyperstyle", trunk=trunk, w_share=0.5, lr=3e-3)
    _train([renders], tmp_path / "run", pair, options).go("auto")
    assert load_pair(str(tmp_path / "run")).has("hyperstyle")
    project = ("project", stages / "display.face.png", "--pair", tmp_path / "run", "-o", tmp_path / "code.npy")
    ended = cli(*project, "--inverter", "hyperstyle")
    assert ended.code == 0, ended.err
    offsets = read_offsets(tmp_path / "code.npy")
    assert offsets
    assert all(name.endswith(("conv0.weight", "conv1.weight")) for name in offsets)
    ended = cli("decode", tmp_path / "code.npy", "--pair", tmp_path / "run", "-o", tmp_path / "face.png")
    assert ended.code == 0, ended.err
    assert cli(*project, "--force").code == 0  # by optimisation from the average: it is no encoder to start from
    assert not read_offsets(tmp_path / "code.npy")
