import numpy as np
import pytest
from PIL import Image

from refacer.files import read_passport, read_source

LIMIT = 10**7


def test_a_face_knows_where_it_came_from(cli, look, tmp_path):
    ended = cli("align", look, "-o", tmp_path / "face.png", "--size", 96)
    assert (ended.code, ended.out) == (0, b"")
    face = read_source(tmp_path / "face.png", max_pixels=LIMIT)
    assert face.native.shape == (96, 96, 3)
    assert face.passport is not None
    assert face.passport.source == read_source(look, max_pixels=LIMIT).info
    record = face.passport.faces[0]
    assert (record.index, record.count, record.crop_size, len(record.landmarks)) == (0, 1, 96, 68)
    assert [stage.stage for stage in record.stages] == ["align"]
    assert record.stages[0].models.keys() == {"landmarks"}


def test_two_faces_from_left_to_right(cli, two, tmp_path):
    assert cli("align", two, "-o", f"{tmp_path}/").code == 0
    places = [read_passport(tmp_path / f"two.{i}.png").faces[0] for i in range(2)]
    assert [place.index for place in places] == [0, 1]
    assert places[0].quad[0][0] < places[1].quad[0][0]


def test_into_one_file_goes_the_largest_and_the_rest_is_told(cli, two, tmp_path):
    ended = cli("align", two, "-o", tmp_path / "face.png")
    assert "2 faces found, 1 taken" in ended.err
    record = read_passport(tmp_path / "face.png").faces[0]
    assert (record.index, record.count, record.stages[0].parameters["faces"]) == (0, 2, "largest")


def test_one_face_by_number(cli, two, tmp_path):
    assert cli("align", two, "-o", tmp_path / "face.png", "--faces", "1", "-q").err == ""
    assert read_passport(tmp_path / "face.png").faces[0].index == 1


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["-o", "face.png", "--faces", "7"], 2, "numbered from 0"),
        (["-o", "face.png", "--faces", "0,1"], 2, "several outputs"),
        (["-o", "face.png", "--min-size", "300"], 3, "--min-size"),
        (["-o", "face.jpg"], 2, "of type .png"),
        (["-o", "face.png", "--max-pixels", "100"], 5, "--max-pixels"),
        (["-o", "face.png", "--device", "abacus"], 2, "--device"),
        (["-o", "face.png", "--pair", "nobody"], 8, "nobody"),
    ],
)
def test_what_goes_wrong_has_its_code_and_one_line(cli, two, tmp_path, monkeypatch, options, code, says):
    monkeypatch.chdir(tmp_path)
    ended = cli("align", two, *options)
    assert ended.code == code
    assert ended.err.startswith("refacer: error: ")
    assert says in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_no_face(cli, bare, tmp_path):
    ended = cli("align", bare, "-o", tmp_path / "face.png")
    assert ended.code == 3
    assert "bare.png: no face" in ended.err


def test_a_damaged_picture_and_a_name_on_two_lines(cli, tmp_path):
    (tmp_path / "torn\n.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    ended = cli("align", tmp_path / "torn\n.png", "-o", tmp_path / "face.png")
    assert ended.code == 5
    assert ended.err.count("\n") == 1


def test_a_grey_picture_in_a_folder_of_any_name(cli, look, tmp_path):
    folder = tmp_path / "Фото [1]"
    folder.mkdir()
    Image.open(look).convert("L").save(folder / "a.webp", lossless=True)
    (folder / "b.png").write_bytes(b"no picture")
    ended = cli("align", folder, "-o", tmp_path / "out", "-v")
    assert ended.code == 1
    assert "Фото [1]" in ended.err
    face = np.asarray(Image.open(tmp_path / "out/a.png"))
    assert np.ptp(face, axis=2).max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_a_picture_one_pixel_wide_has_no_face(cli, tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "w.png")
    ended = cli("align", tmp_path / "w.png", "-o", tmp_path / "face.png")
    assert ended.code == 3, ended.err
    assert ended.err.count("\n") == 1


def test_a_name_so_long_that_no_sidecar_can_stand_beside_it(cli, look, tmp_path):
    path = tmp_path / ("a" * 239 + ".png")
    path.write_bytes(look.read_bytes())
    assert cli("align", path, "-o", tmp_path / "face.png").code == 0
