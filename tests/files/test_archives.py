import contextlib
import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from refacer.datasets.sheets import COLUMNS, ROWS, THUMB_PX, encode_thumbnail, sheets_of
from refacer.errors import InputRefused, OutputNotWritable
from refacer.files.archives import Archives, write_zip
from refacer.files.sources import list_zip


def test_what_is_packed_is_listed_and_read_and_packs_to_the_same_bytes(tmp_path):
    files = [tmp_path / name for name in ("b.png", "a.PNG", "notes.txt")]
    for file in files:
        file.write_bytes(file.name.encode() * 100)
    for name, order in (("one.zip", files), ("two.zip", files[::-1])):
        write_zip(tmp_path / name, order)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert [entry.member for entry in list_zip(tmp_path / "one.zip").entries] == ["a.PNG", "b.png"]
    assert Archives().read(tmp_path / "one.zip", "b.png") == b"b.png" * 100


def test_damage_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", bytes(1000))
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    for member in ("a.png", "b.png"):
        with pytest.raises(InputRefused, match=f"a.zip::{member}"):
            Archives().read(path, member)
    path.write_bytes(b"PK\x05\x06")
    with pytest.raises(InputRefused, match="not a readable zip"):
        list_zip(path)


def test_a_zip_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OutputNotWritable):
        write_zip(tmp_path / "nowhere/a.zip", [])
    with pytest.raises(OutputNotWritable):
        write_zip(tmp_path / "a.zip", [tmp_path / "missing.png"])
    assert not list(tmp_path.iterdir())


def test_sheets_show_every_thumbnail():
    thumbnail = encode_thumbnail(np.full((64, 64, 3), 200, np.uint8))
    sheets = sheets_of([(thumbnail, "a face")] * (COLUMNS * ROWS + 1))
    first, second = (np.asarray(Image.open(io.BytesIO(sheet))) for sheet in sheets)
    assert first.shape[0] > (ROWS - 1) * THUMB_PX > second.shape[0]
    bright = lambda sheet: int((abs(sheet.astype(int) - 200).max(2) < 8).sum())  # noqa: E731
    assert bright(first) == pytest.approx(COLUMNS * ROWS * 64 * 64, rel=0.02)
    assert sheets_of([]) == []


def test_a_zip_is_opened_once_for_all_its_files(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    write_zip(tmp_path / "one.zip", [tmp_path / "a.png", tmp_path / "b.png"])
    archives = Archives()
    first = archives.opened(tmp_path / "one.zip")
    assert [archives.read(tmp_path / "one.zip", name) for name in ("a.png", "b.png")] == [b"x", b"x"]
    assert archives.opened(tmp_path / "one.zip") is first


def test_threads_read_one_after_another(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(8):
            archive.writestr(f"{number}.png", bytes([number]) * 100)
    archives, inside, most = Archives(), [], []
    archives.opened(tmp_path / "a.zip")
    everyone = threading.Barrier(4, timeout=0.2)

    def read_stream(stream, name):
        inside.append(name)
        with contextlib.suppress(threading.BrokenBarrierError):
            everyone.wait()  # for another thread, which must not come
        most.append(len(inside))
        inside.remove(name)
        return stream.read()

    monkeypatch.setattr("refacer.files.archives.read_stream", read_stream)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: archives.read(tmp_path / "a.zip", f"{n}.png"), range(8)))
    assert found == [bytes([number]) * 100 for number in range(8)]
    assert max(most) == 1
