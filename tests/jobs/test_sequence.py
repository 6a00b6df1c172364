"""`run --sequence` with the tiny pair: a figure that moves, frames that are missing or broken, and going on."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.engine import Refacer
from refacer.files import read_passport
from refacer.jobs import frames as frames_of_jobs
from refacer.jobs import steady_codes
from refacer.jobs.plan import Kind, make_plan
from refacer.jobs.sequence import in_natural_order
from refacer.options import FollowOptions

INVERTED = ("--sequence", "--way", "project", "--range", "ignore", "--device", "cpu")
ARGUMENTS = ("--sequence", "--way", "translate", "--range", "ignore", "--device", "cpu")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def frames(tmp_path_factory, look: Path) -> Path:
    """Six frames of a figure that moves to the right, three pixels a frame; the names count 8 to 13."""
    folder = tmp_path_factory.mktemp("frames")
    figure = Image.open(look).convert("RGB")
    for i in range(6):
        moved = Image.new("RGB", figure.size, figure.getpixel((0, 0)))
        moved.paste(figure, (3 * i, 0))
        moved.save(folder / f"shot {i + 8}.png")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory, cli, frames: Path) -> Path:
    out = tmp_path_factory.mktemp("out")
    ended = cli("run", frames, "-o", out, *ARGUMENTS)
    assert ended.code == 0, ended.err
    assert "6 done" in ended.err
    return out


def test_every_frame_is_changed_and_the_face_moves_evenly(frames: Path, done: Path):
    found, kept, studio = [], [], Refacer(device="cpu")
    for i in range(8, 14):
        assert (pixels(frames / f"shot {i}.png") != pixels(done / f"shot {i}.png")).any()
        found.append(studio.find(frames / f"shot {i}.png")[0].quad[0][0])
        kept.append(read_passport(done / f"shot {i}.png").faces[0].quad[0][0])
    assert np.diff(kept).mean() == pytest.approx(3, abs=0.2)
    assert np.abs(np.diff(kept, 2)).mean() < np.abs(np.diff(found, 2)).mean() / 2


def test_it_goes_on_where_it_stopped_with_the_same_frames(cli, frames: Path, done: Path, tmp_path: Path):
    shutil.copytree(done, tmp_path / "out")
    for i in (9, 12):
        (tmp_path / "out" / f"shot {i}.png").unlink()
    ended = cli("run", frames, "-o", tmp_path / "out", *ARGUMENTS)
    assert "2 done, 4 up to date" in ended.err
    for path in done.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_a_frame_depends_on_the_others(cli, frames: Path, done: Path, tmp_path: Path):
    shutil.copytree(frames, tmp_path / "in")
    shutil.copytree(done, tmp_path / "out")
    shutil.copy(frames / "shot 8.png", tmp_path / "in/shot 13.png")
    assert "6 done, 0 up to date" in cli("run", tmp_path / "in", "-o", tmp_path / "out", *ARGUMENTS).err


def test_what_cannot_be_read_fails_and_where_a_face_is_missed_it_is_changed_all_the_same(
    cli, frames: Path, tmp_path: Path
):
    shutil.copytree(frames, tmp_path / "in")
    (tmp_path / "in/shot 10.png").write_bytes(b"no picture")
    covered = pixels(frames / "shot 12.png").astype(np.uint8)
    covered[:100, 100:220] = 120
    Image.fromarray(covered).save(tmp_path / "in/shot 12.png")
    ended = cli("run", tmp_path / "in", "-o", tmp_path / "out", *ARGUMENTS)
    assert ended.code == 1
    assert [line for line in ended.err.splitlines() if "error" in line] == [
        f"refacer: error: {tmp_path}/in/shot 10.png: not a PNG, JPEG, WebP, TIFF, AVIF, BMP or TGA picture"
    ]
    assert "5 done" in ended.err
    assert (pixels(tmp_path / "out/shot 12.png") != covered).any()


def test_a_sequence_without_a_face_stays_as_it_is(cli, bare: Path, tmp_path: Path):
    for i in range(2):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(bare, tmp_path / f"in/{i}.png")
    ended = cli("run", tmp_path / "in", "-o", tmp_path / "out", *ARGUMENTS)
    assert ended.code == 0
    assert ended.err.count("no face is followed through this frame") == 2
    assert (pixels(bare) == pixels(tmp_path / "out/0.png")).all()


def test_a_frame_of_another_size_is_told_and_one_without_a_face_is_up_to_date_with_the_others(
    cli, frames: Path, bare: Path, tmp_path: Path
):
    shutil.copytree(frames, tmp_path / "in")
    shutil.copy(bare, tmp_path / "in/shot 13.png")
    ended = cli("run", tmp_path / "in", "-o", tmp_path / "out", *ARGUMENTS)
    assert ended.err.count("frames differ in size; shot 13 is 80x90 after 300x400\n") == 1
    assert ended.err.count("shot 13.png: no face is followed through this frame") == 1
    assert "6 done" in ended.err
    assert "0 done, 6 up to date" in cli("run", tmp_path / "in", "-o", tmp_path / "out", *ARGUMENTS).err
    changed = (*ARGUMENTS, "--strength", "0.5")
    assert "6 done, 0 up to date" in cli("run", tmp_path / "in", "-o", tmp_path / "out", *changed).err


@pytest.mark.parametrize("faces", ["largest", "1"])
def test_some_of_the_faces(cli, two: Path, tmp_path: Path, faces: str):
    for i in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(two, tmp_path / f"in/{i}.png")
    assert cli("run", tmp_path / "in", "-o", tmp_path / "out", *ARGUMENTS, "--faces", faces).code == 0
    passport = read_passport(tmp_path / "out/1.png")
    assert len(passport.faces) == 1
    assert (passport.faces[0].quad[0][0] < 250) == (faces == "largest")


def test_what_every_frame_would_meet_is_said_once(cli, frames: Path, tmp_path: Path):
    ended = cli("run", frames, "-o", tmp_path / "out", *ARGUMENTS, "-q", "--faces", "3")
    assert ended.code == 2
    assert ended.err == "refacer: error: --faces 3: the sequence has 1 face(s), numbered as they appear\n"


def test_names_are_taken_in_natural_order_and_a_gap_is_told(tmp_path: Path, capsys):
    for number in (1, 2, 10, 9):
        (tmp_path / f"f{number}.png").touch()
    plan = make_plan([tmp_path], str(tmp_path / "out/"), Kind((".png",), ".png", (".png",)))
    assert [item.key.name for item in in_natural_order(plan).items] == ["f1", "f2", "f9", "f10"]
    assert "6 numbers are missing between f1 and f10" in capsys.readouterr().err


@pytest.mark.parametrize("inverter", ["ii2s", "psp"])
def test_a_way_to_codes_that_knows_no_last_frame_makes_no_sequence(cli, frames: Path, tmp_path: Path, inverter: str):
    call = ("run", frames, "-o", tmp_path / "out", "--sequence", "--way", "project", "--inverter", inverter)
    ended = cli(*call)
    assert (ended.code, ended.err.count("\n")) == (2 if inverter == "ii2s" else 8, 1)
    assert "refacer: error" in ended.err


@pytest.mark.parametrize(("room", "times"), [(1.0, 1), (0.0, 3)])
def test_frames_are_read_once_where_there_is_room_with_the_same_result(
    cli, frames: Path, done: Path, tmp_path: Path, monkeypatch, room: float, times: int
):
    read = []
    reader = Refacer.read
    monkeypatch.setattr(Refacer, "read", lambda self, image: read.append(image) or reader(self, image))
    monkeypatch.setattr(frames_of_jobs, "KEPT_FRAC", room)
    assert cli("run", frames, "-o", tmp_path / "out", *ARGUMENTS).code == 0
    assert Counter(read) == dict.fromkeys(sorted(frames.iterdir()), times)
    for path in done.iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


@pytest.fixture(scope="module")
def inverted(tmp_path_factory, cli, frames: Path) -> Path:
    """The frames by inversion, in `out`, with what each stage made of them in `stages`."""
    place = tmp_path_factory.mktemp("inverted")
    ended = cli("run", frames, "-o", place / "out", *INVERTED, "--keep-stages", place / "stages")
    assert ended.code == 0, ended.err
    return place


def test_by_inversion_a_track_has_one_identity_and_its_codes_move_evenly(frames: Path, inverted: Path):
    codes = np.stack([np.load(inverted / f"stages/shot {i}.codes.npy")[0] for i in range(8, 14)])
    shared = 2 * int(np.log2(FollowOptions().shared_from_px)) - 5
    assert (codes[1:, shared:] == codes[:1, shared:]).all()
    own = codes[:, :shared]
    assert (np.diff(own, axis=0) != 0).any((1, 2)).all()
    for i in range(8, 14):
        assert (pixels(frames / f"shot {i}.png") != pixels(inverted / f"out/shot {i}.png")).any()
    assert not (inverted / "out/.sequence").exists()


def test_by_inversion_too_it_goes_on_where_it_stopped_with_the_same_frames(
    cli, frames: Path, inverted: Path, tmp_path: Path, monkeypatch
):
    inverted_here, true = [], steady_codes.invert_each

    def stopping(faces, *more):
        if len(inverted_here) == 4:
            raise KeyboardInterrupt
        inverted_here.append(faces)
        return true(faces, *more)

    call = ("run", frames, "-o", tmp_path / "out", *INVERTED)
    monkeypatch.setattr(steady_codes, "invert_each", stopping)
    assert cli(*call).code == 130
    assert len(list((tmp_path / "out/.sequence").iterdir())) == 4
    inverted_here[:] = inverted_here[:2]  # there is time for two more
    ended = cli(*call)
    assert ended.code == 0, ended.err
    assert len(inverted_here) == 4
    (tmp_path / "out/shot 9.png").unlink()
    inverted_here.clear()
    monkeypatch.setattr(steady_codes, "invert_each", true)
    assert "1 done, 5 up to date" in cli(*call).err
    for path in (inverted / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_by_inversion_a_frame_that_cannot_be_read_fails_alone(cli, frames: Path, tmp_path: Path):
    shutil.copytree(frames, tmp_path / "in")
    (tmp_path / "in/shot 8.png").write_bytes(b"no picture")
    ended = cli("run", tmp_path / "in", "-o", tmp_path / "out", *INVERTED, "--paste", "face", "--mask", "none")
    assert (ended.code, ended.err.count("refacer: error")) == (1, 1)
    assert "5 done, 0 up to date, 1 failed" in ended.err
    assert not (tmp_path / "out/.sequence").exists()
