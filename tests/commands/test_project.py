import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from refacer.files import encode_codes, read_codes, read_passport


@pytest.fixture
def faces(stages, tmp_path):
    """A folder with the aligned face, twice, the second smaller and without its passport."""
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "a.png").write_bytes((stages / "display.face.png").read_bytes())
    Image.open(folder / "a.png").resize((48, 48)).save(folder / "b.png")
    return folder


def test_codes_and_passport_of_a_folder(cli, faces, tmp_path, stages):
    ended = cli("project", faces, "-o", tmp_path / "out", "--batch", 2, "--trace", tmp_path / "trace.ndjson")
    assert ended.code == 0, ended.err
    codes, passport = read_codes(tmp_path / "out/a.npy")
    assert np.array_equal(np.load(tmp_path / "out/a.npy"), codes)
    assert (codes.shape, codes.dtype) == ((1, 10, 16), np.float32)
    assert passport == read_passport(stages / "display.codes.npy")
    resampled = read_passport(tmp_path / "out/b.npy").faces[0].stages[0].parameters
    assert resampled["resampled_from_px"] == 48
    assert (resampled["steps"], resampled["lr"]) == (2, 0.05)
    rows = [json.loads(line) for line in (tmp_path / "trace.ndjson").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 0, 1]
    assert isinstance(rows[0]["distance"], float)


def test_what_is_up_to_date_is_left_alone(cli, faces, tmp_path):
    def statuses(*options):
        ended = cli("project", faces, "-o", tmp_path / "out", "--json", *options)
        assert ended.code == 0, ended.err
        return [result["status"] for result in json.loads(ended.out)["results"]]

    assert statuses() == ["done", "done"]
    assert statuses() == ["skipped", "skipped"]
    assert statuses("--batch", 2) == ["skipped", "skipped"]
    Image.open(faces / "b.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(faces / "b.png")
    assert statuses() == ["skipped", "done"]
    for option in (["--seed", 1], ["--steps", 3], ["--into", "real"], ["--force"]):
        assert statuses(*option) == ["done", "done"]


def test_the_pair_s_own_prior_is_used_and_told(cli, faces, pair, tmp_path):
    own = tmp_path / "pair"
    shutil.copytree(pair, own)
    facts = json.loads((own / "pair.json").read_text())
    facts["defaults"]["prior"] = 0.5
    (own / "pair.json").write_text(json.dumps(facts))

    def found(*options):
        call = ("project", faces / "a.png", "-o", tmp_path / "c.npy", "--trace", tmp_path / "t", "--force", *options)
        ended = cli(*call)
        assert ended.code == 0, ended.err
        traced = json.loads((tmp_path / "t").read_text().splitlines()[-1])["prior"]
        told = read_passport(tmp_path / "c.npy").faces[0].stages[1].parameters["prior_weight"]
        return np.load(tmp_path / "c.npy").tobytes(), traced, told

    with_its_own, without = found("--pair", own), found("--pair", own, "--prior", 0)
    assert with_its_own == found("--prior", 0.5)
    assert without == found()
    assert with_its_own[0] != without[0]
    assert with_its_own[1] > 0
    assert (without[1:], with_its_own[2]) == ((0.0, 0.0), 0.5)


def test_starting_from_a_code(cli, faces, stages, tmp_path):
    start = stages / "display.codes.npy"
    ended = cli("project", faces / "a.png", "-o", tmp_path / "c.npy", "--init", start, "--steps", 1, "--lr", 0)
    assert ended.code == 0, ended.err
    assert np.array_equal(np.load(tmp_path / "c.npy"), np.load(start))
    assert len(read_passport(tmp_path / "c.npy").faces[0].stages[1].parameters["init"]) == 64


def test_through_pipes(cli, faces, tmp_path):
    ended = cli("project", stdin=(faces / "a.png").read_bytes())
    assert ended.code == 0, ended.err
    assert np.load(io.BytesIO(ended.out)).shape == (1, 10, 16)


def test_refusals(cli, look, faces, tmp_path):
    (tmp_path / "other.npy").write_bytes(encode_codes(np.zeros((1, 4, 16), np.float32), None))
    (tmp_path / "nan.npy").write_bytes(encode_codes(np.full((1, 10, 16), np.nan, np.float32), None))
    to = ("-o", tmp_path / "c.npy")
    assert cli("project", look, *to).code == 4
    assert cli("project", faces / "a.png", *to, "--init", tmp_path / "other.npy").code == 4
    assert cli("project", faces / "a.png", *to, "--init", tmp_path / "nan.npy").code == 5
    assert cli("project", faces / "a.png", "-o", tmp_path / "c.png").code == 2
    assert cli("project", faces / "a.png", *to, "--lr", "nan").code == 2
    assert not (tmp_path / "c.npy").exists()
