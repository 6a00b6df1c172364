import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer

from refacer.errors import InputRefused, NoFace, OutOfMemory, OutputNotWritable, UsageError, WeightsMissing
from refacer.jobs import runner, turns
from refacer.jobs.plan import Kind, make_plan
from refacer.jobs.runner import run_plan
from refacer.jobs.turns import Outcome, Work
from refacer.options import FileOptions

TEXTS = Kind((".txt",), ".out", (".out",))
ERRORS = {
    "bad": InputRefused("is broken"),
    "faceless": NoFace("no face found"),
    "bug": ZeroDivisionError("ours"),
    "large": torch.OutOfMemoryError("CUDA out of memory"),
    "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "weights": WeightsMissing("no weights"),
    "interrupt": KeyboardInterrupt(),
}


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A function: contents by name -> a folder; 'ours' marks what the program wrote."""
    folder = tmp_path / "in"

    def write(**contents: str) -> Path:
        folder.mkdir(exist_ok=True)
        for name, text in contents.items():
            (folder / f"{name}.txt").write_text(text)
        return folder

    monkeypatch.setattr(turns, "passport_of", lambda path: path if path.read_bytes().endswith(b"ours") else None)
    return write


def load(item):
    """The text; 'current' is up to date, and some texts are errors."""
    text = item.path.read_text()
    if text in ERRORS:
        raise ERRORS[text]
    return None if text == "current" else text


def process(values, _progress):
    if "fails late" in values:
        raise InputRefused("is broken")
    return [Outcome({None: f"{value} ours".encode()}, facts={"length": len(value)}) for value in values]


def go(folder, out, size=1, side_by_side=1, **options):
    files = FileOptions(output=str(out), **options)
    plan = make_plan([folder], files.output, TEXTS, extra=[files.report])
    work = Work(load, process, "lower --batch", size, lambda: {"pair": "tiny"}, side_by_side=side_by_side)
    run_plan(plan, work, files)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("side_by_side", [1, 4])
def test_every_good_item_is_done_though_others_fail(texts, tmp_path, capsys, side_by_side):
    report = tmp_path / "logs/report.ndjson"
    folder = texts(a="one", b="bad", c="current", d="faceless", e="two")
    with pytest.raises(typer.Exit) as stop:
        go(folder, tmp_path / "out", report=report, side_by_side=side_by_side)
    assert stop.value.exit_code == 1
    assert (tmp_path / "out/a.out").read_text() == "one ours"
    assert (tmp_path / "out/e.out").exists()
    *items, summary = lines(report)
    assert [item["status"] for item in items] == ["done", "failed", "skipped", "failed", "done"]
    assert [item["exit_code"] for item in items] == [0, 5, 0, 3, 0]
    assert items[0]["outputs"] == [str(tmp_path / "out/a.out")]
    assert items[0]["length"] == 3
    assert (summary["done"], summary["skipped"], summary["failed"], summary["exit_code"]) == (2, 1, 2, 1)
    assert summary["pair"] == "tiny"
    printed = capsys.readouterr().err.splitlines()
    assert [line for line in printed if "error" in line] == [
        f"refacer: error: {tmp_path}/in/b.txt: is broken", f"refacer: error: {tmp_path}/in/d.txt: no face found",
    ]  # fmt: skip
    assert printed[-1] == f"refacer: 2 done, 1 up to date, 2 failed; in {tmp_path}/out, report {report}"


def test_one_item_raises_its_own_error_with_its_name(texts, tmp_path):
    with pytest.raises(NoFace, match=r"a\.txt: no face found"):
        go(texts(a="faceless"), tmp_path / "out")


def test_all_done_ends_normally(texts, tmp_path):
    go(texts(a="one", b="two"), tmp_path / "out")


@pytest.mark.parametrize("side_by_side", [1, 4])
def test_fail_fast_stops(texts, tmp_path, side_by_side):
    report = tmp_path / "report"
    folder = texts(a="bad", b="two")
    with pytest.raises(typer.Exit) as stop:
        go(folder, tmp_path / "out", fail_fast=True, report=report, side_by_side=side_by_side)
    assert stop.value.exit_code == 1
    assert not (tmp_path / "out/b.out").exists()
    assert lines(report)[-1]["not_started"] == 1


def test_what_every_item_would_meet_ends_the_run(texts, tmp_path):
    with pytest.raises(WeightsMissing):
        go(texts(a="weights", b="two"), tmp_path / "out", report=tmp_path / "report")
    assert lines(tmp_path / "report")[-1]["exit_code"] == 8


def test_a_bug_has_its_traceback_and_stops_nothing(texts, tmp_path, capsys):
    with pytest.raises(typer.Exit):
        go(texts(a="bug", b="two"), tmp_path / "out")
    assert "Traceback" in capsys.readouterr().err
    assert (tmp_path / "out/b.out").exists()


@pytest.mark.parametrize("how", ["large", "cpu"])
def test_memory_that_does_not_suffice_ends_in_advice(texts, tmp_path, how):
    with pytest.raises(OutOfMemory, match="lower --batch"):
        go(texts(a=how), tmp_path / "out")


@pytest.mark.parametrize("side_by_side", [1, 4])
def test_an_interrupt_leaves_a_summary(texts, tmp_path, side_by_side):
    folder = texts(a="one", b="interrupt", c="two")
    with pytest.raises(KeyboardInterrupt):
        go(folder, tmp_path / "out", report=tmp_path / "report", side_by_side=side_by_side)
    assert lines(tmp_path / "report")[-1]["exit_code"] == 130
    assert lines(tmp_path / "report")[-1]["not_started"] == 2


@pytest.mark.parametrize("side_by_side", [1, 4])
def test_a_batch_that_fails_is_tried_one_by_one(texts, tmp_path, side_by_side):
    with pytest.raises(typer.Exit):
        go(texts(a="one", b="fails late", c="two"), tmp_path / "out", size=3, side_by_side=side_by_side)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.out", "c.out"]


def test_batches_are_full_whatever_is_skipped(texts, tmp_path):
    seen = []
    files = FileOptions(output=str(tmp_path / "out"))
    plan = make_plan([texts(a="one", b="current", c="two", d="three")], files.output, TEXTS)
    run_plan(plan, Work(load, lambda values, p: seen.append(values) or process(values, p), "", 2), files)
    assert seen == [["one", "two"], ["three"]]


def test_foreign_files_in_a_folder_are_not_overwritten(texts, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.out").write_text("precious")
    (out / "b.out").write_text("old ours")
    with pytest.raises(typer.Exit):
        go(texts(a="one", b="two"), out)
    assert (out / "a.out").read_text() == "precious"
    assert (out / "b.out").read_text() == "two ours"
    go(texts(), out, force=True)
    assert (out / "a.out").read_text() == "one ours"


def test_a_folder_that_cannot_be_made(texts, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable):
        go(texts(a="one"), tmp_path / "file/out/")


def test_a_folder_that_takes_no_files_ends_all_before_the_work(texts, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "c.out").write_text("there ours")
    worked, report = [], tmp_path / "report.ndjson"
    monkeypatch.setattr(runner, "try_folder", refuse := Refuse())
    files = FileOptions(output=str(out), report=report)
    plan = make_plan([texts(a="one", b="two", c="current")], files.output, TEXTS)
    with pytest.raises(OutputNotWritable):
        run_plan(plan, Work(load, lambda values, p: worked.append(values) or process(values, p), ""), files)
    assert (worked, refuse.asked) == ([], [out])
    assert lines(report)[-1]["exit_code"] == 7
    assert [path.name for path in out.iterdir()] == ["c.out"]


def test_a_folder_that_takes_no_files_may_hold_what_is_up_to_date(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "try_folder", refuse := Refuse())
    go(texts(a="current"), tmp_path / "out")
    assert refuse.asked == []


class Refuse:
    """A folder that takes no files; permissions would not stop root, as whom tests may run."""

    def __init__(self):
        self.asked = []

    def __call__(self, folder):
        self.asked.append(folder)
        raise OutputNotWritable(f"{folder}: takes no files")


def test_the_end_tells_of_faces_that_were_left(texts, tmp_path, capsys):
    def left_in_the_first(values, progress):
        return [replace(one, facts={"left": [0] if values == ["one"] else []}) for one in process(values, progress)]

    files = FileOptions(output=str(tmp_path / "out"))
    plan = make_plan([texts(a="one", b="two")], files.output, TEXTS)
    run_plan(plan, Work(load, left_in_the_first, ""), files)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"refacer: 2 done, 0 up to date, 1 with a face left as it was, 0 failed; in {tmp_path}/out"


def test_a_report_that_fills_the_disk_is_said_to(texts, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("refacer.jobs.report.Lines.write", full)
    with pytest.raises(OutputNotWritable, match=r"--report .*: cannot be written \(No space left"):
        go(texts(a="one", b="two"), tmp_path / "out", report=tmp_path / "report")


def test_a_report_that_cannot_be_written(texts, tmp_path):
    with pytest.raises(OutputNotWritable, match="--report"):
        go(texts(a="one"), tmp_path / "out", report=tmp_path)


def test_json_goes_to_stdout(texts, tmp_path, capsys):
    go(texts(a="one", b="two"), tmp_path / "out", json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["done"] == 2
    assert [item["status"] for item in printed["results"]] == ["done", "done"]


def test_json_and_a_result_cannot_share_stdout(texts, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    files = FileOptions(output="-", json=True)
    plan = make_plan([texts(a="one") / "a.txt"], "-", TEXTS)
    with pytest.raises(UsageError, match="--json"):
        run_plan(plan, Work(load, process, ""), files)


def test_quiet_and_verbose(texts, tmp_path, capsys):
    go(texts(a="one", b="two"), tmp_path / "out", quiet=True)
    assert capsys.readouterr().err == ""
    go(texts(), tmp_path / "out", verbose=True)
    printed = capsys.readouterr().err
    assert "a.txt: done" in printed
    assert "pair tiny" in printed
