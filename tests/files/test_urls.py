"""Pictures come and go behind URLs as they do in folders."""

import shutil
import sys
from pathlib import Path

import fsspec
import pytest

import refacer
from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.files import read_passport, write_atomic
from refacer.files.sources import list_folder
from refacer.files.streams import read_bytes
from refacer.files.urls import as_path, is_url


@pytest.fixture
def store():
    """An empty store in memory, as fsspec has it."""
    store = fsspec.filesystem("memory")
    yield store
    for name in list(store.store):
        store.rm_file(name)


def test_a_url_is_a_path_and_a_path_none(store):
    assert not is_url(as_path("shots/a.png"))
    path = as_path("memory://shots/a.png")
    assert is_url(path)
    assert (str(path.parent), path.name) == ("memory://shots", "a.png")


@pytest.mark.parametrize("name", ["nowhere://shots", "s3://shots/a.png"])
def test_a_url_that_nothing_here_knows_is_said_to(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match=f"{name}: cannot be reached"):
        as_path(name)


def test_bytes_come_and_go(store):
    path = as_path("memory://shots/new/a.png")
    write_atomic(path, b"bytes")
    assert read_bytes(path) == b"bytes"
    with pytest.raises(UsageError, match="no such file"):
        read_bytes(as_path("memory://shots/b.png"))


def test_what_a_store_raises_is_a_line(store, monkeypatch):
    path = as_path("memory://shots/a.png")
    write_atomic(path, b"bytes")

    def refuse(*_, **__):
        raise RuntimeError("the store is closed\nand so on")

    monkeypatch.setattr(type(store), "_open", refuse)
    with pytest.raises(OutputNotWritable, match=r"a\.png: cannot be written \(the store is closed\)"):
        write_atomic(path, b"more")
    with pytest.raises(InputRefused, match=r"a\.png: cannot be read \(the store is closed\)"):
        read_bytes(path)
    monkeypatch.setattr(type(store), "find", refuse)
    assert "cannot be looked into" in str(list_folder(as_path("memory://shots")).refused[0][1])


def test_a_listing_is_that_of_a_folder(store, tmp_path):
    for name in ("b.png", "a/c.jpg", ".hidden/d.png", "Thumbs.db", "raw.dng", "out/e.png"):
        write_atomic(tmp_path / "shots" / name, b"")
        write_atomic(as_path(f"memory://shots/{name}"), b"")
    with pytest.warns(refacer.errors.RefacerWarning, match=r"1 \.dng"):
        here = list_folder(tmp_path / "shots", skip=[tmp_path / "shots/out"])
    with pytest.warns(refacer.errors.RefacerWarning, match=r"1 \.dng"):
        there = list_folder(as_path("memory://shots/"), skip=[as_path("memory://shots/out")])
    assert [entry.below for entry in there.entries] == [entry.below for entry in here.entries]
    assert there.unread == here.unread


def test_a_folder_comes_out_the_same_behind_urls(cli, store, look, bare, tmp_path):
    shots = tmp_path / "shots"
    (shots / "day").mkdir(parents=True)
    shutil.copy(look, shots / "a.png")
    shutil.copy(look, shots / "day/b.jpg")
    shutil.copy(bare, shots / "bare.png")
    store.put(str(shots), "/in", recursive=True)
    here = cli("run", shots, "-o", tmp_path / "out/")
    there = cli("run", "memory://in", "-o", "memory://out/")
    assert (here.code, there.code) == (1, 1), there.err
    assert there.err.replace("memory://in", str(shots)).replace("memory://", f"{tmp_path}/") == here.err
    for name in ("a.png", "day/b.png"):
        assert store.cat_file(f"/out/{name}") == (tmp_path / "out" / name).read_bytes()
    assert store.find("/out") == ["/out/a.png", "/out/day/b.png"]
    assert "2 up to date" in cli("run", "memory://in", "-o", "memory://out/").err
    store.pipe_file("/out/a.png", b"precious")
    assert "exists and is not refacer's" in cli("run", "memory://in", "-o", "memory://out/").err
    assert store.cat_file("/out/a.png") == b"precious"


def test_one_file_and_a_sidecar(cli, store, look):
    store.put_file(str(look), "/in/a.png")
    assert cli("run", "memory://in/a.png", "-o", "memory://out/a.jpg").code == 0
    assert read_passport(as_path("memory://out/a.jpg")).faces
    assert cli("run", "memory://in/none.png", "-o", "memory://out/x.png").code == 2
    assert cli("run", "memory://in/a.png", "-o", "memory://in/a.png").code == 2


def test_codes_and_python_take_urls(cli, store, stages):
    store.put_file(str(stages / "display.face.png"), "/face.png")
    assert cli("project", "memory://face.png", "-o", "memory://codes.npy").code == 0
    ended = cli("decode", "memory://codes.npy", "-o", "memory://real.png")
    assert ended.code == 0, ended.err
    assert refacer.Refacer().read("memory://real.png").passport


def test_reports_and_stages_are_this_machines(cli, store, look, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = cli("run", look, "-o", "x.png", "--report", "memory://report.html")
    assert (ended.code, list(Path().iterdir())) == (2, [])
    assert cli("run", look, "-o", "x.png", "--keep-stages", "memory://stages").code == 2
