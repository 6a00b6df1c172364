"""A command shows the options that it reads and no others."""

import inspect

import pytest

from refacer.cli import app
from refacer.commands.study import study
from refacer.options import (
    AnalysisOptions,
    Call,
    Choices,
    CompareOptions,
    DatasetOptions,
    FileOptions,
    SDEditOptions,
    StudyOptions,
    StudyRule,
)
from tests.commands.test_sdedit import written_model
from tests.studies.voters import ballots, design, write

COMMON = (Call, Choices, FileOptions, DatasetOptions)
KINDS = {
    "compare": (CompareOptions, FileOptions),
    "sdedit": (SDEditOptions, *COMMON),
    "study make": (StudyOptions, StudyRule),
    "study analyse": (AnalysisOptions,),
}
"""Where a command's options go; those of the others into COMMON."""

CALLS = {
    "run": [("run", "LOOK", "-o", "x.png"), ("run", "FOLDER", "-o", "out", "--report", "r")],
    "align": [("align", "LOOK", "-o", "x.png"), ("align", "FOLDER", "-o", "out")],
    "project": [("project", "FACE", "-o", "x.npy"), ("project", "FOLDER", "-o", "out")],
    "decode": [("decode", "CODES", "-o", "x.png", "--noise", "random"), ("decode", "CODES", "-o", "out/")],
    "parse": [("parse", "FACE", "-o", "x.png"), ("parse", "FOLDER", "-o", "out")],
    "translate": [("translate", "FACE", "-o", "x.png"), ("translate", "FOLDER", "-o", "out")],
    "composite": [("composite", "LOOK", "REAL", "-o", "out/")],
    "dataset": [("dataset", "FOLDER", "-o", "set", "--jobs", 1), ("dataset", "FOLDER", "-o", "set", "--jobs", 1)],
    "compare": [("compare", "FOLDER", "-o", "out", "--methods", "project,sdedit", "--run", "MODEL")],
    "sdedit": [("sdedit", "FOLDER", "-o", "out", "--steps", 10, "--model", "DENOISER")],
    "study make": [("study", "make", "COMPARED", "-o", "study")],
    "study analyse": [("study", "analyse", "VOTES", "--bootstrap", 20)],
}
"""Calls of each command that together meet all that it can do."""

ASIDE = {"composite": {"mask"}, "sdedit": {"faces"}}
"""Files there, so no choice of this name."""


@pytest.fixture
def read(monkeypatch) -> set[str]:
    """The fields of a call, its choices and its file options that were looked at."""
    seen: set[str] = set()

    def recorded(self, name):
        if not name.startswith("__") and name not in ("choices", "files"):
            seen.add(name)
        return object.__getattribute__(self, name)

    for kind in {*COMMON, *(kind for kinds in KINDS.values() for kind in kinds)}:
        monkeypatch.setattr(kind, "__getattribute__", recorded)
    return seen


def shown(command: str) -> set[str]:
    """The fields of these that a command has options for."""
    callbacks = {one.callback.__name__: one.callback for one in app.registered_commands if one.callback}
    callbacks |= {f"study {one.callback.__name__}": one.callback for one in study.registered_commands if one.callback}
    callback = callbacks[command]
    known = {name for kind in KINDS.get(command, COMMON) for name in kind.__dataclass_fields__}
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
        "DENOISER": written_model(tmp_path / "denoiser"),
        "MODEL": f"sdedit={tmp_path / 'denoiser'}",
        "COMPARED": tmp_path / "compared",
        "VOTES": write(tmp_path / "votes/v.jsonl", ballots(design(), {"m1": 1, "m2": 1}, 2, 0)),
    }
    for method, picture in (("ours", "real"), ("other", "face")):
        (tmp_path / "compared" / method).mkdir(parents=True)
        (tmp_path / f"compared/{method}/face.png").write_bytes((stages / f"display.{picture}.png").read_bytes())
    for call in CALLS[command]:
        ended = cli(*[places.get(part, part) for part in call])
        assert "Traceback" not in ended.err, ended.err
        assert ended.code in (0, 1), ended.err
    if command == "decode":  # a bad item among several, as the folder brings it to the others
        (tmp_path / "in/a.npy").write_bytes(b"no codes")
        (tmp_path / "in/b.npy").write_bytes(places["CODES"].read_bytes())
        assert cli("decode", tmp_path / "in", "-o", "many").code == 1
    aside = ASIDE.get(command, set())
    assert shown(command) - aside <= read, f"shown but not read: {shown(command) - aside - read}"
