"""`refacer compare` with a tiny pair and stand-ins for what measures."""

import csv
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
from refacer.files import read_source
from tests.evaluation.test_evaluate import MeanColors

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

    def stopping(self, face, name):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(name)
        return true(self, face, name)

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
