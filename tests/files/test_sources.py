"""What counts in a folder and in a zip, the same for everyone who reads a set of pictures."""

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from refacer.errors import InputRefused, RefacerWarning, UsageError
from refacer.files import archives, streams
from refacer.files.archives import Archives
from refacer.files.sources import is_dataset, list_folder, list_pictures, list_zip, read_list

WANTED = ["B.png", "a.JPG", "sub/c.d.png", "sub/sub/e.tiff"]
UNWANTED = [
    "notes.txt", ".hidden.png", ".cache/f.png", "__MACOSX/._a.png", "__MACOSX/a.png", "sub/.ipynb_checkpoints/c.png",
    ".DS_Store", "sub/Thumbs.db",
]  # fmt: skip
HEADER = {"version": 1, "align": {}, "models": {}}


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def pack(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def below(listing) -> list[str]:
    return [entry.below.as_posix() for entry in listing.entries]


def test_a_folder_and_a_zip_of_the_same_files_hold_the_same(tmp_path):
    folder = write(tmp_path / "set", *WANTED, *UNWANTED)
    (folder / "folder.png").mkdir()
    archive = pack(tmp_path / "set.zip", *WANTED[::-1], *UNWANTED, "folder.png/", "__MACOSX\\a.png")
    for listing in (list_pictures(folder), list_pictures(archive)):
        assert below(listing) == WANTED
        assert [entry.read(Archives()) for entry in listing.entries] == [name.encode() for name in WANTED]
        assert not listing.refused
    assert list_pictures(archive).entries[0].name == f"{archive}::B.png"


def test_other_files_and_folders_that_are_not_searched(tmp_path):
    folder = write(tmp_path, "a.npy", "a.png", "out/b.npy", "deep/out/c.npy")
    assert below(list_folder(folder, (".npy",), [folder / "out", None])) == ["a.npy", "deep/out/c.npy"]


def test_linked_folders_are_entered_and_loops_end(tmp_path):
    folder = write(tmp_path / "set", "a.png", "sub/b.png")
    write(tmp_path / "elsewhere", "c.png", "out/d.png")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "0").symlink_to(folder / "sub", target_is_directory=True)
    (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere/back").symlink_to(folder, target_is_directory=True)
    (folder / "skipped").symlink_to(tmp_path / "elsewhere/out", target_is_directory=True)
    listing = list_folder(folder, skip=[tmp_path / "elsewhere/out"])
    assert below(listing) == ["a.png", "link/c.png", "sub/b.png"]
    assert not listing.refused


def test_a_file_is_taken_once_under_its_own_name(tmp_path):
    folder = write(tmp_path / "set", "z.png")
    store = write(tmp_path / ".store", "object")
    (folder / "latest.png").symlink_to("z.png")
    (folder / "kept.png").symlink_to(store / "object")
    (folder / "lost.png").symlink_to("nowhere")
    listing = list_folder(folder)
    assert below(listing) == ["kept.png", "z.png"]
    assert listing.doubled == (folder / "latest.png",)
    ((name, error),) = listing.refused
    assert name == str(folder / "lost.png")
    assert isinstance(error, InputRefused)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names on this platform")
def test_what_is_no_regular_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "null.png").symlink_to(os.devnull)
    assert list_folder(tmp_path).entries == ()
    with pytest.raises(UsageError, match="neither a folder nor a zip"):
        list_pictures(tmp_path / "pipe.png")


def test_a_data_set_stands_for_its_kept_faces(tmp_path):
    others = ("quarantine/small/b.png", "thumbs/a.png.jpg", "sheets/kept-001.png", "incoming/c.png")
    folder = write(tmp_path / "sets/one", "faces/a.png", *others)
    assert len(list_folder(folder).entries) == 5
    (folder / "measures.jsonl").write_text(json.dumps(HEADER) + "\n{}\n")
    assert is_dataset(folder)
    assert below(list_folder(folder)) == ["a.png"]
    assert below(list_folder(tmp_path / "sets")) == ["one/faces/a.png"]
    assert below(list_folder(folder / "quarantine")) == ["small/b.png"]


@pytest.mark.parametrize("text", ["", "[1]", "{}", "not json", '"' + "x" * 10**5])
def test_other_journals_tell_no_data_set(tmp_path, text):
    (tmp_path / "measures.jsonl").write_text(text)
    assert not is_dataset(tmp_path)


def test_a_damaged_zip_is_called_damaged(tmp_path):
    whole = pack(tmp_path / "whole.zip", *WANTED).read_bytes()
    for name, data in {"cut.zip": whole[:-30], "cut": whole[:-30], "empty.zip": b"", "text.zip": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputRefused, match="damaged"):
            list_pictures(tmp_path / name)
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(UsageError, match="neither a folder nor a zip"):
        list_pictures(tmp_path / "notes.md")


def test_a_member_without_a_name_is_no_picture(tmp_path):
    """zipfile asks for the last letter of every name."""
    whole = pack(tmp_path / "a.zip", "a.png", "x").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole.replace(b"x", b"\0"))  # where a name ends for zipfile
    assert [entry.member for entry in list_zip(tmp_path / "a.zip").entries] == ["a.png"]


def test_links_in_a_zip_are_no_pictures(tmp_path):
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert list_zip(tmp_path / "a.zip").entries == ()


def test_members_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_FILE_BYTES", 10**5)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**7))
    (entry,) = list_zip(path).entries
    with pytest.raises(InputRefused, match=r"bomb\.zip::a\.png: more than"):
        entry.read(archives.Archives())


def test_a_list(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeff# portraits\r\nhttp://a/1.png\r\n\r\n  http://a/2.png \nhttp://a/1.png\n".encode())
    assert read_list(path) == ["http://a/1.png", "http://a/2.png"]
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputRefused, match="not a text file"):
        read_list(path)


def test_the_order_is_that_of_whole_names_in_a_folder_as_in_a_zip(tmp_path):
    names = ["b.png", "a/z.png", "c/a.png", "c.png", "a.png", "a-b/y.png", "Z.png"]
    listings = list_pictures(write(tmp_path / "set", *names)), list_pictures(pack(tmp_path / "set.zip", *names))
    for listing in listings:
        assert below(listing) == sorted(names)


def test_pictures_of_kinds_that_are_not_read_are_told(tmp_path):
    names = ["a.png", "b.AVIF", "c.jfif", "d.bmp", "e.tga", "x.psd", "sub/y.PSD", "z.exr", "notes.txt", ".hidden.psd"]
    sources = write(tmp_path / "set", *names), pack(tmp_path / "set.zip", *names)
    for source in sources:
        with pytest.warns(RefacerWarning, match=r"3 files left out, .* \(1 \.exr, 2 \.psd\)"):
            listing = list_pictures(source)
        assert below(listing) == names[:5]
        assert dict(listing.unread) == {".psd": 2, ".exr": 1}
    assert list_folder(tmp_path / "set", (".npy",)).unread == {}
