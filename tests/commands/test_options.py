"""A command shows the options that it reads and no others."""

import inspect

import pytest

from refacer.cli import app
from refacer.options import Call, Choices, DatasetOptions, FileOptions

KINDS = (Call, Choices, FileOptions, DatasetOptions)

CALLS = {
    "run": [("run", "LOOK", "-o", "x.png"), ("run", "FOLDER", "-o", "out", "--report", "r")],
    "align": [("align", "LOOK", "-o", "x.png"), ("align", "FOLDER", "-o", "out")],
    "project": [("project", "FACE", "-o", "x.npy"), ("project", "FOLDER", "-o", "out")],
    "decode": [("decode", "CODES", "-o", "x.png", "--noise", "random"), ("decode", "CODES", "-o", "out/")],
    "parse": [("parse", "FACE", "-o", "x.png"), ("parse", "FOLDER", "-o", "out")],
    "translate": [("translate", "FACE", "-o", "x.png"), ("translate", "FOLDER", "-o", "out")],
    "composite": [("composite", "LOOK", "REAL", "-o", "out/")],
    "dataset": [("dataset", "FOLDER", "-o", "set", "--jobs", 1), ("dataset", "FOLDER", "-o", "set", "--jobs", 1)],
}
"""Calls of each command that together meet all that it can do."""


@pytest.fixture
def read(monkeypatch) -> set[str]:
    """The fields of a call, its choices and its file options that were looked at."""
    seen: set[str] = set()

    def recorded(self, name):
        if not name.startswith("__") and name not in ("choices", "files"):
            seen.add(name)
        return object.__getattribute__(self, name)

    for kind in KINDS:
        monkeypatch.setattr(kind, "__getattribute__", recorded)
    return seen


def shown(command: str) -> set[str]:
    """The fields of these that a command has options for."""
    callbacks = [one.callback for one in app.registered_commands if one.callback]
    callback = next(one for one in callbacks if one.__name__ == command)
    known = {name for kind in KINDS for name in kind.__dataclass_fields__}
    return set(inspect.signature(callback).parameters) & known


@pytest.mark.parametrize("command", CALLS)
def test_every_option_is_read(cli, stages, tmp_path, monkeypatch, read, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_bytes(b"no picture")
    (tmp_path / "in/face.png").write_bytes((stages / "display.face.png").read_bytes())
    places = {
        "LOOK": stages / "look.png",
        "FACE": stages / "display.face.png",
        "REAL": stages / "display.real.png",
        "CODES": stages / "display.codes.npy",
        "FOLDER": tmp_path / "in",
    }
    for call in CALLS[command]:
        ended = cli(*[places.get(part, part) for part in call])
        assert "Traceback" not in ended.err, ended.err
        assert ended.code in (0, 1), ended.err
    if command == "decode":  # a bad item among several, as the folder brings it to the others
        (tmp_path / "in/a.npy").write_bytes(b"no codes")
        (tmp_path / "in/b.npy").write_bytes(places["CODES"].read_bytes())
        assert cli("decode", tmp_path / "in", "-o", "many").code == 1
    aside = {"mask"} if command == "composite" else set()  # files there, so no choice of this name
    assert shown(command) - aside <= read, f"shown but not read: {shown(command) - aside - read}"
