import numpy as np
import pytest

from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.files import read_source, video
from refacer.files.png import read_png
from refacer.files.video import Video
from tests.clips import TIMES, make_clip, seen_in, told_by

HD = {"color_range": 1, "color_primaries": 1, "color_trc": 1, "colorspace": 1}


@pytest.fixture
def frames():
    """Smooth pictures, wider than high, that move."""
    y, x = np.mgrid[:48, :64]
    return [np.stack([x * 3 + 5 * i, y * 4, 255 - x - y], -1).astype(np.uint8) for i in range(len(TIMES))]


def pixels_of(clip: Video):
    return [read_source(data, max_pixels=10**6).native for data in clip.frames()]


def test_what_is_lossless_comes_back_as_it_was(frames, tmp_path):
    path = make_clip(tmp_path / "a.mkv", frames)
    clip = Video(path)
    read = pixels_of(clip)
    assert np.array_equal(read, frames)
    clip.write(tmp_path / "b.mkv", read)
    assert np.array_equal(seen_in(tmp_path / "b.mkv"), frames)
    assert told_by(tmp_path / "b.mkv") == told_by(path)
    assert clip.lacking is None


def test_a_turned_video_is_worked_on_upright_and_stays_turned(frames, tmp_path):
    lying = [np.rot90(frame, -1) for frame in frames]  # players turn it back, against the clock
    path = make_clip(tmp_path / "a.mp4", lying, "libx264", "yuv444p", "aac", rotation=90, **HD)
    clip = Video(path)
    read = pixels_of(clip)
    assert read[0].shape == frames[0].shape
    assert np.abs(np.subtract(read, frames, dtype=int)).mean() < 3
    clip.write(tmp_path / "b.mp4", read)
    assert told_by(tmp_path / "b.mp4") == told_by(path)
    assert told_by(path)["frames"] == [(time / 1000, 90) for time in TIMES]
    assert np.abs(np.subtract(seen_in(tmp_path / "b.mp4"), seen_in(path), dtype=int)).mean() < 3


def test_ten_bits_stay_ten_and_wide_colours_are_told(frames, tmp_path):
    wide = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}
    path = make_clip(tmp_path / "a.mkv", frames, "libx264", "yuv444p10le", None, **wide)
    clip = Video(path)
    first = next(clip.frames())
    assert read_source(first, max_pixels=10**6).depth == 16
    assert (b"cICP", bytes([9, 16, 0, 1])) in read_png(first).color
    read = pixels_of(clip)
    clip.write(tmp_path / "b.mkv", read)
    assert told_by(tmp_path / "b.mkv") == told_by(path)


def test_a_video_cut_short_gives_what_is_before(frames, tmp_path):
    path = make_clip(tmp_path / "a.mkv", frames)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = Video(path)
    read = pixels_of(clip)
    assert 0 < len(read) < len(frames)
    assert clip.lacking == f"cut short or damaged: {len(read)} frames could be read"
    whole = make_clip(tmp_path / "a.mp4", frames, "libx264", "yuv420p", "aac")
    whole.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(InputRefused, match="no video that can be read"):
        Video(whole)


def test_what_cannot_be_written_is_known_before_the_work(frames, tmp_path):
    clip = Video(make_clip(tmp_path / "a.mp4", frames, "libx264", "yuv420p", "aac"))
    clip.check(tmp_path / "b.mp4")
    with pytest.raises(OutputNotWritable, match=r"b\.webm: cannot be written"):
        clip.check(tmp_path / "b.webm")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_without_pyav_there_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'refacer\[video\]'"):
        Video(tmp_path / "a.mp4")


def test_words_that_are_no_utf8_stop_nothing(frames, tmp_path):
    clip = make_clip(tmp_path / "a.mkv", frames)
    data = clip.read_bytes()
    assert b"Lavf" in data
    clip.write_bytes(data.replace(b"Lavf", b"\xff\xfe\xb5f"))
    assert len(list(Video(clip).frames())) == len(frames)
