from functools import partial

import numpy as np
import pytest
from PIL import Image

from refacer.files.video import Video
from tests.clips import TIMES, make_clip, seen_in, told_by


@pytest.fixture
def frames(look):
    """A figure that walks to the right."""
    figure = np.asarray(Image.open(look).convert("RGB"))
    return [np.roll(figure, 2 * i, 1) for i in range(len(TIMES))]


def test_a_video_is_the_sequence_of_its_frames(cli, frames, tmp_path):
    (tmp_path / "frames").mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frames/{i}.png")
    assert cli("run", tmp_path / "frames", "-o", tmp_path / "out", "--sequence", "--way", "translate").code == 0
    path, target = make_clip(tmp_path / "a.mkv", frames), tmp_path / "b.mkv"
    ended = cli("run", path, "-o", target, "--way", "translate", "--report", tmp_path / "report.ndjson")
    assert ended.code == 0, ended.err
    expected = [np.asarray(Image.open(one)) for one in sorted((tmp_path / "out").iterdir())]
    assert np.array_equal(seen_in(target), expected)
    assert not np.array_equal(expected, frames)
    assert told_by(target) == told_by(path)
    assert not (tmp_path / "b.mkv.frames").exists()


def test_interrupted_it_goes_on(cli, frames, tmp_path, monkeypatch):
    path, target = make_clip(tmp_path / "a.mkv", frames, sound=None), tmp_path / "b.mkv"
    run = partial(cli, "run", path, "-o", target, "--way", "translate")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Video, "write", interrupted)
        assert run().code == 130
    assert not target.exists()
    ended = run()
    assert ended.code == 0
    assert f"0 done, {len(frames)} up to date" in ended.err
    assert len(seen_in(target)) == len(frames)


def test_a_video_cut_short_is_done_as_far_as_it_goes(cli, frames, tmp_path):
    path, target = make_clip(tmp_path / "a.mkv", frames), tmp_path / "b.mkv"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    ended = cli("run", path, "-o", target, "--way", "translate", "-q")
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert "cut short or damaged" in ended.err
    assert 0 < len(seen_in(target)) < len(frames)


def test_what_goes_wrong_has_its_code(cli, frames, look, tmp_path):
    path = make_clip(tmp_path / "a.mkv", frames[:1], sound=None)
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(b"no video")
    for code, arguments in (
        (2, (path, "-o", tmp_path / "b.png")),
        (2, (path, "-o", path)),
        (2, (path, look, "-o", tmp_path / "b.mkv")),
        (2, (path, "-o", tmp_path / "b.mkv", "--cluster", "local")),
        (2, (path, "-o", tmp_path / "b.mkv", "--way", "project", "--inverter", "ii2s")),
        (5, (torn, "-o", tmp_path / "b.mkv")),
        (7, (path, "-o", tmp_path / "b.webm", "--way", "translate")),
    ):
        ended = cli("run", *arguments, "-q")
        assert (ended.code, ended.err.count("\n")) == (code, 1), ended.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.mkv", "torn.mp4"]
