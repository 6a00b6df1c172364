import errno
import os
import stat
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest

from refacer.errors import InputRefused, OutputNotWritable, RefacerWarning, UsageError
from refacer.files import read_bytes, read_stream, streams, try_folder, write_atomic


def test_written_whole_with_missing_folders(tmp_path):
    path = tmp_path / "a" / "b" / "look.png"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_permissions_are_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, error):
    path = tmp_path / "look.png"
    path.write_bytes(b"before")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OutputNotWritable):
        write_atomic(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_its_name_and_then_the_name_is(tmp_path, monkeypatch):
    happened = []
    replace, sync = os.replace, os.fsync

    def replacing(part, target):
        happened.append("name")
        replace(part, target)

    def syncing(descriptor):
        happened.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr(os, "fsync", syncing)
    write_atomic(tmp_path / "look.png", b"x")
    assert happened == ["file", "name", "folder"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_disk_that_cannot_keep_it_is_worded_and_a_folder_need_not_be_synced(tmp_path, monkeypatch, kind):
    path = tmp_path / "look.png"
    path.write_bytes(b"before")

    def fail(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (kind == "folder"):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    if kind == "folder":  # some file systems refuse it
        write_atomic(path, b"after")
        assert path.read_bytes() == b"after"
    else:
        with pytest.raises(OutputNotWritable, match="Input/output error"):
            write_atomic(path, b"after")
        assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_worded(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "file" / "below", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(OutputNotWritable, match="cannot be written") as caught:
            write_atomic(path, b"")
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_long_name_that_just_fits(tmp_path):
    path = tmp_path / ("é" * 127)
    write_atomic(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_folder_is_tried_and_left_as_it_was(tmp_path, monkeypatch):
    try_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OutputNotWritable, match=r"takes no files \(Permission denied\)"):
        try_folder(tmp_path)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "far")
    write_atomic(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far").read_bytes() == b"x"


def test_a_device_is_not_replaced():
    write_atomic(Path(os.devnull), b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_reading_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_FILE_BYTES", 10)
    (tmp_path / "a").write_bytes(bytes(11))
    assert read_stream(BytesIO(bytes(10))) == bytes(10)
    for read in (lambda: read_stream(BytesIO(bytes(11))), lambda: read_bytes(tmp_path / "a")):
        with pytest.raises(InputRefused, match="GiB"):
            read()


def test_missing_files_folders_and_odd_names(tmp_path):
    for path in (tmp_path / "no\nne", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(UsageError) as caught:
            read_bytes(path)
        assert "\n" not in str(caught.value)


def test_nothing_heavy_is_imported():
    code = "import sys, refacer.files; print(*{'torch', 'cv2', 'dlib', 'facexlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_without_fsync_it_is_written_and_told_once(tmp_path, monkeypatch, code):
    def refuse(_descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    streams.tell_of_unsynced.cache_clear()
    with pytest.warns(RefacerWarning, match="may not survive a power cut"):
        write_atomic(tmp_path / "a", b"a")
    write_atomic(tmp_path / "sub/b", b"b")
    assert [(tmp_path / name).read_bytes() for name in ("a", "sub/b")] == [b"a", b"b"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_fsync_that_fails_is_no_success(tmp_path, monkeypatch, code):
    def fail(_descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputNotWritable):
        write_atomic(tmp_path / "a", b"")
    assert not list(tmp_path.iterdir())
