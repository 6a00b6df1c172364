"""`refacer compare` with a tiny pair and stand-ins for what measures."""

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refacer
from refacer.comparison import measures
from refacer.comparison.methods import METHODS, Worker
from refacer.evaluation import evaluate
from refacer.files import read_passport, read_source
from refacer.weights.pairs import load_pair
from tests.commands.test_sdedit import written_model
from tests.evaluation.test_evaluate import MeanColors
from tests.inverters.test_hyperstyle import installed

__all__ = ["installed"]  # a fixture

ALL = ("ours", "translate", "project", "project-face", "project-change", "direct")
FACES = ("a", "deep/b")


class Brightness:
    """An identity of one number that finds a face everywhere."""

    name, about, higher = "identity_brightness", "the mean brightness", False

    def compare(self, a, b):
        return float((a.mean() - b.mean()).abs())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(measures, "identity_network", lambda equipment: Brightness())
    monkeypatch.setattr(evaluate, "feature_network", lambda equipment: MeanColors())


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Two faces, one of another size than the pair's, and their true photographs in `truth`."""
    rng = np.random.default_rng(0)
    for name, side in zip(FACES, (64, 96), strict=True):
        for folder in ("faces", "truth"):
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return tmp_path / "faces"


def table(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "table.json").read_text())


def statuses(report: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    return [(line["input"], line["status"]) for line in lines if "summary" not in line]


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def test_every_method_gives_the_pictures_that_refacer_gives(cli, faces, tmp_path, pair):
    ended = cli("compare", faces / "deep", "-o", tmp_path / "out", "--methods", ",".join(ALL))
    assert ended.code == 0, ended.err
    made = {name: pixels(tmp_path / f"out/{name}/b.png") for name in ("inputs", *ALL)}
    face = made["inputs"]
    assert face.shape == (64, 64, 3)
    studio = refacer.Refacer(pair, way="project")
    drawn = studio.decode(studio.project(face))
    assert (made["project"] == drawn.pixels).all()
    for paste in ("face", "change"):
        pasting = refacer.Refacer(pair, way="project", paste=paste)
        assert (made[f"project-{paste}"] == pasting.composite(face, drawn)).all()
    assert (made["direct"] == studio.decode(studio.project(face, into="real")).pixels).all()
    assert (made["translate"] == studio.composite(face, studio.translate(face))).all()
    assert (made["ours"] == refacer.Refacer(pair).composite(face, drawn)).all()


def test_the_table_and_what_shows_it(cli, faces, tmp_path):
    place = tmp_path / "out"
    options = ("--truth", tmp_path / "truth", "--against", tmp_path / "truth")
    ended = cli("compare", faces, "-o", place, "--methods", "direct,translate", *options, "--json")
    assert ended.code == 0, ended.err
    body = table(place)
    assert json.loads(ended.out) == body
    assert list(body["rows"]) == ["inputs", "direct", "translate", "truth"]
    kinds = ("identity_brightness", "perceptual_discriminator", "l2", "color")
    columns = [f"{kind}_to_{to}" for to in ("input", "truth") for kind in kinds]
    columns += ["fid_mean_color_to_truth", "kid_mean_color_to_truth", "seconds"]
    assert list(body["columns"]) == columns
    for kind in kinds:
        assert body["rows"]["inputs"][f"{kind}_to_input"] == pytest.approx(0, abs=1e-9)
        assert body["rows"]["truth"][f"{kind}_to_truth"] == pytest.approx(0, abs=1e-9)
        for name in ("direct", "translate"):
            figures = [body["faces"][face][name]["figures"][f"{kind}_to_truth"] for face in FACES]
            assert body["rows"][name][f"{kind}_to_truth"] == pytest.approx(np.mean(figures))
            assert min(figures) > 0
    assert body["rows"]["truth"]["fid_mean_color_to_truth"] == pytest.approx(0, abs=1e-6)
    assert body["rows"]["direct"]["seconds"] > 0
    assert body["rows"]["inputs"]["seconds"] is None
    with (place / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == list(body["rows"])
    assert float(rows[1]["l2_to_truth"]) == body["rows"]["direct"]["l2_to_truth"]
    text = (place / "table.md").read_text().splitlines()
    assert len({line.count("|") for line in text if line.startswith("|")}) == 1
    assert any("perceptual_discriminator" in line for line in text if line.startswith("- "))
    with Image.open(place / "sheet-1.jpg") as sheet:
        assert sheet.size == (4 * 192 + 3 * 6, 2 * (192 + 16) + 6)
    record = json.loads((place / "compare.json").read_text())
    assert list(record["methods"]) == ["direct", "translate"]
    assert record["faces"] == list(FACES)
    roles = {use["role"] for use in record["methods"]["translate"]["weights"]}
    assert "translator" in roles


def test_what_is_up_to_date_is_neither_made_nor_measured_again(cli, faces, tmp_path, monkeypatch):
    call = ("compare", faces, "-o", tmp_path / "out", "--methods", "project,translate", "--report", tmp_path / "r")
    assert cli(*call).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    first = table(tmp_path / "out")
    measured: list[object] = []
    true = measures.Measures.figures
    monkeypatch.setattr(measures.Measures, "figures", lambda *args: measured.append(args) or true(*args))
    assert cli(*call).code == 0
    assert {status for _, status in statuses(tmp_path / "r")} == {"skipped"}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")} == before
    assert (table(tmp_path / "out"), measured) == (first, [])
    assert cli(*call, "--steps", 3).code == 0
    found = dict(statuses(tmp_path / "r"))
    assert (found["project/a"], found["translate/a"]) == ("done", "skipped")
    assert len(measured) == 2
    assert cli(*call, "--steps", 3, "--force").code == 0
    assert {status for _, status in statuses(tmp_path / "r")} == {"done"}


def test_it_goes_on_where_it_stopped(cli, faces, tmp_path, monkeypatch):
    call = ("compare", faces, "-o", tmp_path / "out", "--methods", "project,direct", "--report", tmp_path / "r")
    true, made = Worker.make, []

    def stopping(self, face, name, codes):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(name)
        return true(self, face, name, codes)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "make", stopping)
        assert cli(*call).code == 130
    assert cli(*call).code == 0
    assert [status for _, status in statuses(tmp_path / "r")] == ["skipped"] * 3 + ["done"]
    assert table(tmp_path / "out")["rows"]["direct"]["faces"] == 2


def test_methods_share_a_code_and_its_time(cli, faces, tmp_path, monkeypatch):
    found: list[object] = []
    true = refacer.Refacer.project
    monkeypatch.setattr(refacer.Refacer, "project", lambda *a, **k: found.append(a) or true(*a, **k))
    ended = cli("compare", faces, "-o", tmp_path / "out", "--methods", "project,project-face,project-change")
    assert (ended.code, len(found)) == (0, 2)
    times = json.loads((tmp_path / "out/times.json").read_text())
    for name in ("project", "project-face", "project-change"):
        assert times[f"{name}/a"] >= times["codes/optimise-rendering/a"]


def test_one_bad_face_stops_nothing(cli, faces, tmp_path):
    (faces / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 30)).save(faces / "wide.png")
    ended = cli("compare", faces, "-o", tmp_path / "out", "--methods", "translate", "--report", tmp_path / "r")
    assert ended.code == 1
    assert ended.err.count("refacer: error") == 2
    assert "wide.png: is 40x30, a face is square" in ended.err
    assert list(table(tmp_path / "out")["faces"]) == list(FACES)
    assert cli("compare", faces, "-o", tmp_path / "o", "--methods", "translate", "--fail-fast").code == 1
    assert not (tmp_path / "o/table.json").exists()


def test_a_method_that_does_not_exist(cli, faces, tmp_path):
    ended = cli("compare", faces, "-o", tmp_path / "out", "--methods", "ours,nobody")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"nobody: no such method; choose among {', '.join(METHODS)}" in ended.err
    assert not (tmp_path / "out").exists()


def test_a_method_whose_weights_are_absent_is_named_with_what_gets_them(cli, faces, tmp_path, pair):
    poor = tmp_path / "poor"
    shutil.copytree(pair, poor)
    facts = json.loads((poor / "pair.json").read_text())
    del facts["networks"]["translator"]
    (poor / "pair.json").write_text(json.dumps(facts))
    call = ("compare", faces, "-o", tmp_path / "out", "--pair", poor, "--methods")
    ended = cli(*call, "translate,direct")
    assert ended.code == 1
    assert "translate: left out; " in ended.err
    assert "refacer distill" in ended.err
    assert list(table(tmp_path / "out")["rows"]) == ["inputs", "direct"]
    ended = cli(*call, "translate")
    assert (ended.code, ended.err.count("\n")) == (8, 1)


def test_the_judge_and_truths_that_are_not_there(cli, faces, tmp_path, monkeypatch):
    from tests.tools.fakes import PhotoIfBright

    Image.new("RGB", (64, 64), (250, 250, 250)).save(faces / "a.png")
    (tmp_path / "truth/a.png").unlink()
    (tmp_path / "judge.safetensors").write_bytes(b"")
    monkeypatch.setattr(measures, "load_judge", lambda path: PhotoIfBright())
    options = ("--judge", tmp_path / "judge.safetensors", "--truth", tmp_path / "truth")
    ended = cli("compare", faces, "-o", tmp_path / "out", "--methods", "translate", *options)
    assert ended.code == 0, ended.err
    assert "1 of 2 faces have no picture of their name" in ended.err
    body = table(tmp_path / "out")
    assert body["faces"]["a"]["inputs"]["figures"]["judged_photo"] == 1
    assert "l2_to_truth" not in body["faces"]["a"]["inputs"]["figures"]
    assert (body["rows"]["inputs"]["faces"], body["rows"]["truth"]["faces"]) == (2, 1)
    monkeypatch.undo()
    ended = cli("compare", faces, "-o", tmp_path / "none", "--methods", "translate", *options)
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert not (tmp_path / "none/translate").exists()


def test_what_is_not_refacers_is_not_overwritten(cli, faces, tmp_path):
    theirs = tmp_path / "out/translate/a.png"
    theirs.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64), (1, 2, 3)).save(theirs)
    call = ("compare", faces, "-o", tmp_path / "out", "--methods", "translate")
    ended = cli(*call)
    assert (ended.code, "not refacer's" in ended.err) == (1, True)
    assert (pixels(theirs) == (1, 2, 3)).all()
    assert cli(*call, "--force").code == 0
    assert (pixels(theirs) != (1, 2, 3)).any()


def test_a_study_takes_the_folder_without_what_an_earlier_call_left(cli, faces, tmp_path):
    call = ("-o", tmp_path / "out", "--methods", "translate,project")
    assert cli("compare", faces, *call).code == 0
    assert cli("compare", faces / "a.png", *call).code == 0
    assert (tmp_path / "out/project/deep/b.png").exists()
    ended = cli("study", "make", tmp_path / "out", "-o", tmp_path / "study")
    assert ended.code == 0, ended.err
    key = json.loads((tmp_path / "study/study.json").read_text())
    assert list(key["cases"].values()) == ["a"]
    assert sorted(key["methods"].values()) == ["project", "translate"]


def test_results_carry_what_was_done_and_the_folder_is_not_its_own_input(cli, faces, tmp_path):
    assert cli("compare", faces, "-o", faces / "out", "--methods", "project-face").code == 0
    passport = read_source(faces / "out/project-face/a.png", max_pixels=10**6).passport
    assert passport is not None
    assert [stage.stage for stage in passport.faces[0].stages] == ["project", "decode", "parse", "composite"]
    assert cli("compare", faces, "-o", faces / "out", "--methods", "project-face").code == 0
    assert list(table(faces / "out")["faces"]) == list(FACES)
    assert not os.path.exists(faces / "out/inputs/out")


def ruled(pair: Path, folder: Path, label: str | None) -> Path:
    """The tiny pair as one that a rule has made."""
    shutil.copytree(pair, folder)
    facts = json.loads((folder / "pair.json").read_text())
    (folder / "pair.json").write_text(json.dumps({**facts, **({"rule": label} if label else {})}))
    return folder


def test_rules_of_fine_tuning_by_pairs_of_their_own(cli, faces, tmp_path, pair):
    agile = ruled(pair, tmp_path / "a", "AgileGAN's second stage")
    call = ("compare", faces / "a.png", "-o", tmp_path / "out", "--methods")
    ended = cli(*call, "project,agile,image-guided", "--run", f"agile={agile}")
    assert ended.code == 1
    told = "image-guided: left out; image-guided: needs a pair of that rule, `refacer finetune FACES --rule"
    assert told in ended.err.replace("\n", " ")
    assert (pixels(tmp_path / "out/agile/a.png") == pixels(tmp_path / "out/project/a.png")).all(), "it is the same pair"
    assert (tmp_path / "out/codes/agile-optimise-rendering/a.npy").exists()
    assert table(tmp_path / "out")["rows"]["agile"]["title"] == "AgileGAN's second stage"


def test_a_rule_is_called_what_it_is(cli, faces, tmp_path, pair):
    guided = ruled(pair, tmp_path / "g", "image-guided (EfficientNet-Lite0)")
    call = ("compare", faces / "a.png", "-o", tmp_path / "out", "--methods")
    ended = cli(*call, "nada", "--run", f"nada={guided}")
    assert (ended.code, "compare it as image-guided" in ended.err) == (2, True)
    assert cli(*call, "image-guided", "--run", f"image-guided={guided}").code == 0
    for name in ("table.md", "table.json", "index.html", "compare.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "image-guided (EfficientNet-Lite0)" in text
        assert "nada" not in text.lower()
    ended = cli(*call, "agile", "--run", f"agile={ruled(pair, tmp_path / 'p', None)}")
    assert (ended.code, "its rule is the paper's rule, not agile" in ended.err) == (2, True)


@pytest.mark.parametrize(("value", "words"), [
    ("agile", "give a method's name and its folder"),
    ("agile=nowhere", "does not exist"),
    ("ours=.", "have a folder of their own"),
])  # fmt: skip
def test_folders_of_methods_that_mean_nothing(cli, faces, tmp_path, value, words):
    ended = cli("compare", faces, "-o", tmp_path / "out", "--methods", "translate", "--run", value)
    assert (ended.code, words in " ".join(ended.err.split())) == (2, True), ended.err


def test_samples_of_sdedit_at_the_pair_s_size(cli, faces, tmp_path):
    call = ("compare", faces, "-o", tmp_path / "out", "--methods", "sdedit,sdedit-2,translate", "--report")
    ended = cli(*call, tmp_path / "r")
    assert ended.code == 1
    assert ended.err.count("python -m tools.studio.train_diffusion") == 2
    model = written_model(tmp_path / "denoiser")
    ended = cli(*call, tmp_path / "r", "--run", f"sdedit={model}")
    assert ended.code == 0, ended.err
    body = table(tmp_path / "out")
    assert body["rows"]["sdedit-2"]["title"] == "SDEdit, sample 2, 16 pixels"
    first, second = (pixels(tmp_path / f"out/{name}/deep/b.png") for name in ("sdedit", "sdedit-2"))
    assert first.shape == (64, 64, 3)
    assert (first != second).any()
    assert cli(*call, tmp_path / "r", "--run", f"sdedit={model}").code == 0
    assert {status for _, status in statuses(tmp_path / "r")} == {"skipped"}


def test_weight_offsets_travel_from_the_code_to_the_picture(cli, faces, tmp_path, installed, pair):
    """`compare` keeps HyperStyle's codes in files: what is drawn from them is what the method draws at once."""
    call = ("compare", faces, "-o", tmp_path / "out", "--methods", "hyperstyle")
    assert cli(*call).code == 0
    studio = refacer.Refacer(pair, way="project", inverter="hyperstyle")
    given = pixels(tmp_path / "out/inputs/a.png")
    latents = studio.project(given, into="real")
    assert latents.offsets is not None
    drawn = studio.decode(latents).pixels
    assert (pixels(tmp_path / "out/hyperstyle/a.png") == drawn).all()
    assert (studio.decode(dataclasses.replace(latents, offsets=None)).pixels != drawn).any()
    (tmp_path / "out/hyperstyle/a.png").unlink()
    assert cli(*call).code == 0
    assert (pixels(tmp_path / "out/hyperstyle/a.png") == drawn).all(), "from the kept code"


def test_a_face_unlike_those_that_the_pair_knows_is_drawn_too(cli, faces, tmp_path, pair):
    narrow = tmp_path / "narrow"
    shutil.copytree(pair, narrow)
    facts = json.loads((narrow / "pair.json").read_text())
    (narrow / "pair.json").write_text(json.dumps({**facts, "range": {"distance": [0.0] * 101}}))
    ended = cli("compare", faces, "-o", tmp_path / "out", "--methods", "ours", "--pair", narrow)
    assert ended.code == 0, ended.err
    assert (pixels(tmp_path / "out/ours/a.png") != pixels(tmp_path / "out/inputs/a.png")).any()


def test_an_encoder_of_the_pair_s_own_size_by_its_folder(cli, faces, tmp_path, pair):
    made, call = tmp_path / "restyle", ("compare", faces / "a.png", "-o", tmp_path / "out", "--methods")
    short = ("--kimg", 0.002, "--batch", 2, "--optimizer", "adam", "--pair", pair)
    for into, folder in (("real", made), ("rendering", tmp_path / "other")):
        assert cli("train-encoder", "-o", folder, "--kind", "restyle-e4e", "--into", into, *short).code == 0
    ended = cli(*call, "restyle-e4e", "--run", f"restyle-e4e={made}")
    assert ended.code == 0, ended.err
    passport = read_passport(tmp_path / "out/codes/restyle-e4e-restyle-e4e-real/a.npy")
    assert passport.faces[0].stages[-1].models["encoder"] == load_pair(str(made)).sha256("encoder")
    for name, folder in (("psp", made), ("restyle-e4e", tmp_path / "other"), ("hyperstyle", made)):
        ended = cli(*call, name, "--run", f"{name}={folder}")
        assert (ended.code, f"carries no {name} into its real generator; `refacer" in ended.err.replace("\n", " ")) == (
            2, True,
        ), ended.err  # fmt: skip
