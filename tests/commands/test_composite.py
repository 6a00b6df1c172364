import json
import shutil

import numpy as np
import pytest
from PIL import Image

from refacer.files import encode_passport, read_passport, read_source

LIMIT = 10**6


@pytest.fixture
def here(stages, tmp_path, monkeypatch):
    """A copy of all artefacts as the working folder, with short names."""
    for path in stages.iterdir():
        shutil.copy(path, tmp_path / path.name.replace("display.", ""))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path):
    return read_source(path, max_pixels=LIMIT).native


@pytest.mark.parametrize("options", [["--mask", "mask.png"], [], ["--mask", "auto", "--align", "face.png"]])
def test_every_way_to_the_same_picture(cli, here, options):
    ended = cli("composite", "look.png", "real.png", *options, "-o", "x.png")
    assert (ended.code, ended.err) == (0, "")
    assert (here / "x.png").read_bytes() == (here / "look.real.png").read_bytes()


def test_the_face_from_stdin_and_the_target_from_stdin(cli, here):
    wanted = (here / "look.real.png").read_bytes()
    assert cli("composite", "look.png", stdin=(here / "real.png").read_bytes()).out == wanted
    assert cli("composite", "-", "real.png", stdin=(here / "look.png").read_bytes()).out == wanted
    assert cli("composite", "-", "-", stdin=b"x").code == 2
    assert cli("composite", "-", stdin=b"x").code == 2
    assert cli("composite", "look.png", "-o", "x.png").code == 2, "a terminal is no face"


def test_masks_make_a_difference_and_are_told(cli, here):
    Image.fromarray(np.full((50, 50), 255, np.uint8)).save("own.png")
    for name in ("none", "own.png"):
        assert cli("composite", "look.png", "real.png", "--mask", name, "-o", "x.png").code == 0
        record = read_passport(here / "x.png").faces[0].stages[-1]
        assert record.parameters["mask"] == "none" or len(record.parameters["mask"]) == 64
        assert (pixels(here / "x.png") != pixels(here / "look.real.png")).any()


def test_pixels_outside_the_crop_are_the_sources(cli, here):
    assert cli("composite", "look.png", "real.png", "--mask", "none", "-o", "x.png").code == 0
    xs, ys = zip(*read_passport(here / "x.png").faces[0].quad, strict=True)
    before, after = pixels(here / "look.png").copy(), pixels(here / "x.png").copy()
    inside = slice(int(min(ys)) - 5, int(max(ys)) + 6), slice(int(min(xs)) - 5, int(max(xs)) + 6)
    assert (before[inside] != after[inside]).any()
    before[inside] = after[inside] = 0
    assert np.array_equal(before, after)


def test_two_faces_in_order(cli, two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("run", two, "-o", "x.png", "--keep-stages", "k").code == 0
    faces, masks = ([f"k/two.{i}.{what}.png" for i in range(2)] for what in ("real", "mask"))
    assert cli("composite", two, *faces, "--mask", masks[0], "--mask", masks[1], "-o", "y.png").code == 0
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()
    assert [face.index for face in read_passport(tmp_path / "x.png").faces] == [0, 1]
    assert cli("composite", two, *faces, "--mask", masks[0], "-o", "z.png").code == 2


def test_a_face_belongs_to_its_picture(cli, here):
    Image.open("look.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("other.png")
    ended = cli("composite", "other.png", "real.png", "-o", "x.png")
    assert ended.code == 4
    assert "--allow-mismatch" in ended.err
    assert cli("composite", "other.png", "real.png", "-o", "x.png", "--allow-mismatch").code == 0
    assert read_passport(here / "x.png").source == read_source(here / "other.png", max_pixels=LIMIT).info


def test_saving_the_picture_again_breaks_nothing(cli, here):
    Image.open("look.png").save("again.tiff")
    assert cli("composite", "again.tiff", "real.png", "-o", "x.png").code == 0


def test_a_face_without_passport_needs_a_place(cli, here):
    Image.open("real.png").save("plain.png")
    ended = cli("composite", "look.png", "plain.png", "-o", "x.png")
    assert ended.code == 4
    assert "--align" in ended.err
    assert cli("composite", "look.png", "plain.png", "-o", "x.png", "--allow-mismatch").code == 4
    (here / "place.json").write_bytes(encode_passport(read_passport(here / "face.png")))
    assert cli("decode", "codes.npy", "--into", "rendering", "--psi", 0.8, "-o", "drawn.png").code == 0
    placed = ("composite", "look.png", "plain.png", "-o", "x.png", "--align", "place.json")
    assert cli(*placed, "--rendering", "drawn.png").code == 0
    assert np.array_equal(pixels(here / "x.png"), pixels(here / "look.real.png"))
    assert cli("composite", "look.png", "plain.png", "-o", "x.png", "--align", "plain.png").code == 4
    assert cli("composite", "look.png", "plain.png", "-o", "x.png", "--align", "nothing").code == 2


def test_a_face_that_was_decoded_without_passport_has_no_place(cli, here):
    np.save("bare.npy", np.load("codes.npy"))
    assert cli("decode", "bare.npy", "-o", "bare.png").code == 0
    for option in ([], ["--allow-mismatch"]):
        ended = cli("composite", "look.png", "bare.png", "-o", "x.png", *option)
        assert ended.code == 4
        assert "--align" in ended.err


def test_jpeg_lapses_the_promise_and_says_so(cli, here):
    ended = cli("composite", "look.png", "real.png", "-o", "x.jpg")
    assert ended.code == 0
    assert ended.err.count("\n") == 1
    assert "JPEG" in ended.err
    sidecar = json.loads((here / "x.jpg.refacer.json").read_text())
    assert sidecar["faces"][0]["stages"][-1]["stage"] == "composite"


def test_content_is_judged_before_fit(cli, here):
    (here / "torn.png").write_bytes((here / "real.png").read_bytes()[:-30])
    Image.new("L", (20, 30)).save("oblong.png")
    assert cli("composite", "look.png", "oblong.png", "--mask", "torn.png", "-o", "x.png").code == 5
    assert cli("composite", "look.png", "real.png", "--mask", "oblong.png", "-o", "x.png").code == 4
    assert cli("parse", "real.png", "--labels", "-o", "labels.png").code == 0
    assert cli("composite", "look.png", "real.png", "--mask", "labels.png", "-o", "x.png").code == 4


@pytest.mark.parametrize("output", ["look.png", "real.png", "mask.png", "x.bmp", "x.npy"])
def test_outputs_that_are_refused(cli, here, output):
    before = {path: path.read_bytes() for path in here.iterdir()}
    assert cli("composite", "look.png", "real.png", "--mask", "mask.png", "-o", output).code == 2
    assert {path: path.read_bytes() for path in here.iterdir()} == before


def test_a_folder_is_for_run(cli, here):
    ended = cli("composite", here, "real.png", "-o", "x.png")
    assert ended.code == 2
    assert "refacer run" in ended.err


def test_a_change_needs_the_rendering_that_auto_can_do_without(cli, here):
    Image.open("real.png").save("plain.png")
    placed = ("composite", "look.png", "plain.png", "-o", "x.png", "--align", "face.png")
    ended = cli(*placed, "--paste", "change")
    assert ended.code == 4
    assert ended.err.count("\n") == 1
    assert "--rendering" in ended.err
    ended = cli(*placed)
    assert ended.code == 0
    assert "carries no rendering" in ended.err
    fallen_back = pixels(here / "x.png")
    assert cli(*placed, "--paste", "face").code == 0
    assert np.array_equal(pixels(here / "x.png"), fallen_back)


def test_strength_scales_the_change(cli, here):
    def change(strength):
        options = ("--paste", "change", "--strength", strength)
        assert cli("composite", "look.png", "real.png", "--mask", "none", "-o", "x.png", *options).code == 0
        return np.abs(pixels(here / "x.png").astype(float) - pixels(here / "look.png")).mean()

    assert change(0) == 0
    assert 0 < change(0.5) < change(1)
    assert cli("composite", "look.png", "real.png", "-o", "x.png", "--strength", "nan").code == 2
    assert cli("composite", "look.png", "real.png", "-o", "x.png", "--strength", "-1").code == 2


@pytest.mark.parametrize(
    ("size", "mode", "code"), [(32, "RGB", 4), (64, "I;16", 4), (64, "L", 0)], ids=["small", "deep", "grey"]
)
def test_a_rendering_must_fit_its_face(cli, here, size, mode, code):
    Image.new("RGB", (size, size), (90, 80, 70)).convert("L").convert(mode).save("drawn.png")
    assert cli("composite", "look.png", "real.png", "-o", "x.png", "--rendering", "drawn.png").code == code


def test_renderings_are_one_a_face(cli, here):
    ended = cli(
        "composite", "look.png", "real.png", "-o", "x.png", "--rendering", "face.png", "--rendering", "face.png"
    )
    assert ended.code == 2
    (here / "torn.png").write_bytes((here / "face.png").read_bytes()[:-30])
    assert cli("composite", "look.png", "real.png", "-o", "x.png", "--rendering", "torn.png").code == 5
