"""`refacer study make`: what is in the page tells nothing of whose picture it is, and what does not fit is said."""

import base64
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.studies.design import Design
from tests.studies.conftest import FACES, METHODS
from tests.studies.voters import ballots, write


def data_of(page: Path) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    return json.loads(text)


def pictures_of(page: Path) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in data_of(page)["pictures"].items()}


def test_a_study_of_three_methods(cli, compared, tmp_path):
    ended = cli("study", "make", compared, "-o", tmp_path / "study")
    assert ended.code == 0, ended.err
    assert "12 questions a person" in ended.err  # 2 rivals x 4 faces, 2 obvious, 2 again
    key = json.loads((tmp_path / "study/study.json").read_text())
    assert sorted(key["methods"].values()) == sorted(METHODS)
    assert key["methods"][key["design"]["focal"]] == "ours"
    page = data_of(tmp_path / "study/index.html")
    design = Design.from_body(page["design"])
    assert page["id"] == key["study"] == design.id
    assert Design.from_body(key["design"]) == design


def test_pictures_tell_nothing_but_what_they_show(cli, compared, tmp_path):
    assert cli("study", "make", compared, "-o", tmp_path / "study", "--show-input").code == 0
    page, key = tmp_path / "study/index.html", json.loads((tmp_path / "study/study.json").read_text())
    found = pictures_of(page)
    assert len(found) == FACES * 4 + 4
    for name in (*METHODS, "face0", "face3", "Software"):
        assert name not in re.sub(r'"[A-Za-z0-9+/=]{200,}"', "", page.read_text().split('id="data">')[1].split("</")[0])
    for data in found.values():
        assert data.startswith(b"\x89PNG")
        assert [data[i : i + 4] for i in (12,)] == [b"IHDR"]
        assert not re.search(rb"tEXt|iTXt|zTXt|eXIf|tIME|iCCP|gAMA|rfRN", data)
        image = Image.open(BytesIO(data))
        assert (image.size, image.mode) == ((32, 32), "RGB")
    short = {title: name for name, title in key["methods"].items()}
    for case, face in key["cases"].items():
        for name in ("ours", "third"):
            shown = np.array(Image.open(BytesIO(found[f"{case}/{short[name]}"])))
            assert (shown == np.array(Image.open(compared / name / f"{face}.png"))).all()


def test_the_seed_draws_faces_and_short_names(cli, compared, tmp_path):
    keys = []
    for number, seed in enumerate((0, 0, 1, 2, 3)):
        place = tmp_path / str(number)
        assert cli("study", "make", compared, "-o", place, "--seed", seed, "--cases", 2).code == 0
        keys.append(json.loads((place / "study.json").read_text()))
    assert keys[0] == keys[1]
    assert len({tuple(key["cases"].values()) for key in keys}) > 1
    assert len({tuple(key["methods"].values()) for key in keys}) > 1
    assert len({key["study"] for key in keys}) == 4


def test_other_pictures_are_another_study(cli, compared, tmp_path):
    assert cli("study", "make", compared, "-o", tmp_path / "a").code == 0
    shutil.copy(compared / "third/face0.png", compared / "third/face1.png")
    assert cli("study", "make", compared, "-o", tmp_path / "b").code == 0
    first, second = (json.loads((tmp_path / name / "study.json").read_text())["study"] for name in "ab")
    assert first != second


def test_compares_own_record_says_which_methods_and_faces_count(cli, compared, tmp_path):
    methods = {"third": {"title": "the third"}, "other": {"title": "the other"}}
    (compared / "compare.json").write_text(json.dumps({"methods": methods, "faces": ["face0", "face2", "face3"]}))
    assert cli("study", "make", compared, "-o", tmp_path / "study").code == 0
    key = json.loads((tmp_path / "study/study.json").read_text())
    assert key["methods"][key["design"]["focal"]] == "third"
    assert len(key["methods"]) == 2
    assert sorted(key["cases"].values()) == ["face0", "face2", "face3"]
    (compared / "compare.json").write_text("{")
    ended = cli("study", "make", compared, "-o", tmp_path / "other")
    assert (ended.code, ended.err.count("\n")) == (5, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--methods", "ours,nobody"], 2, "no method nobody is there; choose among other, ours, third"),
        (["--methods", "ours"], 2, "two methods or more"),
        (["--focal", "third", "--methods", "ours,other"], 2, "--focal third"),
        (["--form", "triples"], 2, "triples"),
        (["--cases", 0], 2, "cases"),
    ],
)
def test_what_is_asked_for_in_vain(cli, compared, tmp_path, arguments, code, says):
    ended = cli("study", "make", compared, "-o", tmp_path / "study", *arguments)
    assert (ended.code, says in ended.err) == (code, True), ended.err
    assert not (tmp_path / "study").exists()


def test_pictures_that_do_not_pair_up(cli, compared, tmp_path):
    (compared / "third/face2.png").unlink()
    ended = cli("study", "make", compared, "-o", tmp_path / "study")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "third lacks face2, which others have" in ended.err
    assert "the 3 that all have with --common" in ended.err
    assert not (tmp_path / "study").exists()
    ended = cli("study", "make", compared, "-o", tmp_path / "study", "--common")
    assert ended.code == 0, ended.err
    assert "face2" not in json.loads((tmp_path / "study/study.json").read_text())["cases"].values()
    for face in range(FACES):
        (compared / f"third/face{face}.png").unlink(missing_ok=True)
    shutil.copy(compared / "ours/face0.png", compared / "third/quite_another.png")
    ended = cli("study", "make", compared, "-o", tmp_path / "none", "--common")
    assert (ended.code, "lacks" in ended.err) == (4, True)


def test_pictures_of_several_sizes_are_shown_at_the_smallest(cli, compared, tmp_path):
    Image.open(compared / "ours/face0.png").resize((48, 48)).save(compared / "ours/face0.png")
    ended = cli("study", "make", compared, "-o", tmp_path / "study")
    assert ended.code == 0
    assert "32 px, 48 px; all are shown at 32 px" in ended.err
    assert {Image.open(BytesIO(data)).size for data in pictures_of(tmp_path / "study/index.html").values()} == {
        (32, 32)
    }
    Image.open(compared / "ours/face0.png").resize((48, 32)).save(compared / "ours/face0.png")
    ended = cli("study", "make", compared, "-o", tmp_path / "other")
    assert (ended.code, "48x32" in ended.err) == (4, True)


def test_nothing_is_overwritten_that_is_not_this_study(cli, compared, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/index.html").write_text("mine")
    ended = cli("study", "make", compared, "-o", tmp_path / "full")
    assert (ended.code, "--force" in ended.err) == (7, True)
    assert (tmp_path / "full/index.html").read_text() == "mine"
    assert cli("study", "make", compared, "-o", tmp_path / "full", "--force").code == 0
    assert cli("study", "make", compared, "-o", tmp_path / "full").code == 0
    asked = Design.from_body(json.loads((tmp_path / "full/study.json").read_text())["design"])
    votes = write(tmp_path / "full/votes/votes.jsonl", ballots(asked, dict.fromkeys(asked.methods, 1.0), 1, 0))
    assert cli("study", "make", compared, "-o", tmp_path / "full").code == 0, "the same study again is no harm"
    ended = cli("study", "make", compared, "-o", tmp_path / "full", "--seed", 5, "--force")
    assert (ended.code, "another study" in ended.err) == (7, True)
    assert len(votes.read_text().splitlines()) == 13


def test_a_bad_picture_and_no_folder(cli, compared, tmp_path):
    (compared / "ours/face1.png").write_bytes(b"no picture")
    ended = cli("study", "make", compared, "-o", tmp_path / "study")
    assert (ended.code, "face1.png" in ended.err, ended.err.count("\n")) == (5, True, 1)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "nowhere", tmp_path / "empty"):
        ended = cli("study", "make", place, "-o", tmp_path / "study")
        assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_names_are_known_where_votes_lie_in_their_study(cli, compared, tmp_path):
    assert cli("study", "make", compared, "-o", tmp_path / "study").code == 0
    asked = Design.from_body(json.loads((tmp_path / "study/study.json").read_text())["design"])
    lines = list(ballots(asked, dict.fromkeys(asked.methods, 1.0), 3, 0))
    votes = write(tmp_path / "study/votes/votes.jsonl", lines)
    elsewhere = write(tmp_path / "else/votes.jsonl", lines)
    for arguments in ([votes], [votes.parent], [tmp_path / "study"], [elsewhere, "--study", tmp_path / "study"]):
        ended = cli("study", "analyse", *arguments, "--json", "-q", "--bootstrap", 10)
        assert ended.code == 0, ended.err
        assert sorted(json.loads(ended.out)["methods"].values()) == sorted(METHODS)
    ended = cli("study", "analyse", elsewhere, "-o", tmp_path / "result", "--bootstrap", 10)
    assert ended.code == 0
    assert "3 people count" in ended.err
    assert json.loads((tmp_path / "result/analysis.json").read_text())["methods"] == {m: m for m in asked.methods}
    assert (tmp_path / "result/figure.svg").read_text().startswith("<svg")
    ended = cli("study", "analyse", votes, "--study", tmp_path / "else")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
