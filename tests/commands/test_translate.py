import json
import shutil

import numpy as np
import pytest

from refacer.files import read_passport, read_source
from refacer.files.artefacts import Face

LIMIT = 10**6


def test_the_chain_without_inversion_is_run(cli, stages, tmp_path):
    look, face, real = stages / "look.png", stages / "display.face.png", tmp_path / "real.png"
    assert cli("translate", face, "-o", real).code == 0
    assert cli("composite", look, real, "-o", tmp_path / "chain.png").code == 0
    ended = cli("run", look, "-o", tmp_path / "run.png", "--way", "translate", "--keep-stages", tmp_path / "k")
    assert ended.code == 0, ended.err
    assert (tmp_path / "chain.png").read_bytes() == (tmp_path / "run.png").read_bytes()
    assert (tmp_path / "k/look.real.png").read_bytes() == real.read_bytes()
    assert not (tmp_path / "k/look.codes.npy").exists()
    told = [stage.stage for stage in read_passport(tmp_path / "run.png").faces[0].stages]
    assert told == ["align", "translate", "parse", "composite"]


def test_what_travels_inside_is_the_face_itself(cli, stages, tmp_path):
    assert cli("translate", stages / "display.face.png", "-o", tmp_path / "real.png").code == 0
    real, face = Face.read(tmp_path / "real.png"), Face.read(stages / "display.face.png")
    assert real.rendering is not None
    assert np.array_equal(real.rendering, face.pixels)
    assert real.pixels[..., 0].mean() > face.pixels[..., 0].mean() + 3


def test_what_is_up_to_date_is_left_alone(cli, stages, tmp_path):
    def status(*options):
        ended = cli("translate", tmp_path / "in", "-o", tmp_path / "out", "--json", *options)
        assert ended.code == 0, ended.err
        return [result["status"] for result in json.loads(ended.out)["results"]]

    (tmp_path / "in").mkdir()
    shutil.copy(stages / "display.face.png", tmp_path / "in/a.png")
    assert (status(), status(), status("--force")) == (["done"], ["skipped"], ["done"])


def test_a_pair_without_a_distilled_network(cli, stages, pair, tmp_path):
    own = tmp_path / "pair"
    shutil.copytree(pair, own)
    facts = json.loads((own / "pair.json").read_text())
    del facts["networks"]["translator"]
    (own / "pair.json").write_text(json.dumps(facts))
    for call in (["translate", stages / "display.face.png"], ["run", stages / "look.png", "--way", "translate"]):
        ended = cli(*call, "-o", tmp_path / "x.png", "--pair", own)
        assert ended.code == 8
        assert "refacer distill" in ended.err
        assert ended.err.count("\n") == 1


@pytest.fixture
def strange(pair, tmp_path):
    """The tiny pair, whose range no face is in."""
    own = tmp_path / "strange"
    shutil.copytree(pair, own)
    facts = json.loads((own / "pair.json").read_text())
    facts["range"] = {"distance": [i * 1e-6 for i in range(101)]}
    (own / "pair.json").write_text(json.dumps(facts))
    return own


def test_a_face_out_of_range_is_left_and_told(cli, stages, strange, tmp_path):
    look = stages / "look.png"
    (tmp_path / "in").mkdir()
    shutil.copy(look, tmp_path / "in/look.png")
    call = ("run", tmp_path / "in", "-o", tmp_path / "out", "--pair", strange)
    ended = cli(*call, "--report", tmp_path / "report")
    assert ended.code == 0
    assert "--range ignore" in ended.err
    item = json.loads((tmp_path / "report").read_text().splitlines()[0])
    assert (item["left"], len(item["distance"])) == ([0], 1)
    before, after = (read_source(path, max_pixels=LIMIT).native for path in (look, tmp_path / "out/look.png"))
    assert np.array_equal(before, after)
    assert "1 up to date" in cli(*call, "-v").err or json.loads(cli(*call, "--json").out)["skipped"] == 1
    assert cli(*call, "--range", "ignore").code == 0
    assert (read_source(tmp_path / "out/look.png", max_pixels=LIMIT).native != before).any()
