"""The program in processes of its own: pipes, signals, exit codes."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from refacer import __version__, cli, interruption
from refacer.console import warning_shower
from refacer.errors import (
    InputRefused,
    NoFace,
    OutOfMemory,
    OutputNotWritable,
    PassportMismatch,
    RefacerWarning,
    WeightsMissing,
)
from refacer.files import read_source


def test_the_chain_through_pipes_is_the_whole_job(stages, pair, tmp_path):
    """README's pipeline, in bash."""
    refacer = f"{shlex.quote(sys.executable)} -m refacer"
    look = shlex.quote(str(stages / "look.png"))
    line = (
        f"{refacer} align {look} | {refacer} project | tee look.npy | {refacer} decode"
        f" | {refacer} composite {look} > look.real.png"
    )
    variables = {"REFACER_PAIR": str(pair), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, env=variables, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "look.npy").read_bytes() == (stages / "display.codes.npy").read_bytes()
    assert (tmp_path / "look.real.png").read_bytes() == (stages / "look.real.png").read_bytes()


def test_a_closed_pipe_ends_silently(program, look):
    with program("align", look) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_closed_stderr_stops_nothing(program, look, two, tmp_path):
    """Neither what is told on the way nor the errors at the end."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no picture")
    (tmp_path / "in/b.png").write_bytes(look.read_bytes())
    with program("align", tmp_path / "in", "-o", tmp_path / "out/", "-v") as process:
        process.stderr.close()
        assert process.stdout.read() == b""
    assert process.returncode == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]
    with program("align", two) as process:  # tells how many faces it left
        process.stderr.close()
        assert read_source(process.stdout.read(), max_pixels=10**6).rgb.shape == (64, 64, 3)
    assert process.returncode == 0


def test_streams_may_be_closed_from_the_start(look, tmp_path):
    """What is opened next must not get their numbers."""
    refacer = f"{shlex.quote(sys.executable)} -m refacer align {shlex.quote(str(look))}"
    codes = [
        subprocess.run(["bash", "-c", f"{refacer} {ends}"], cwd=tmp_path, stdin=subprocess.DEVNULL).returncode
        for ends in ("-q > whole.png", "2>&- <&- > bare.png", "-o named.png <&- >&- 2>&-", ">&- 2>&-")
    ]
    assert codes == [0, 0, 0, 7]
    whole = (tmp_path / "whole.png").read_bytes()
    assert whole == (tmp_path / "bare.png").read_bytes() == (tmp_path / "named.png").read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_nothing_half_written(program, look, tmp_path, number, code):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no picture")
    (tmp_path / "in/b.png").write_bytes(look.read_bytes())
    with program("run", tmp_path / "in", "-o", tmp_path / "out", "--steps", 10**6) as process:
        assert b"a.png" in process.stderr.readline()
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == code
    assert b"Traceback" not in rest
    assert not list((tmp_path / "out").iterdir())


def test_an_interrupt_in_the_middle_of_a_projection(cli, stages, tmp_path, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("refacer.stages.project.project", interrupted)
    ended = cli("project", stages / "display.face.png", "-o", tmp_path / "c.npy", "--report", tmp_path / "report")
    assert ended.code == 130
    assert "interrupted" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.fixture
def signals(monkeypatch) -> None:
    """What came is forgotten afterwards."""
    monkeypatch.setattr(interruption, "_came", [])


def in_a_library(number: int) -> None:
    """A signal that comes where a library makes an error of its own of whatever is raised."""
    try:
        interruption._receive(number, None)
    except BaseException as error:
        raise ValueError("damaged") from error


def test_a_signal_is_no_damage_of_a_file(cli, signals, tmp_path, monkeypatch):
    (tmp_path / "a.pkl").write_bytes(b"x")
    monkeypatch.setattr("refacer.weights.convert.read_weights", lambda _path: in_a_library(signal.SIGTERM))
    ended = cli("weights", "import", tmp_path / "a.pkl", "--as", "thing")
    assert (ended.code, ended.err) == (143, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_fails_one_item_ends_the_rest(cli, signals, look, tmp_path, monkeypatch, number, code):
    seen = []
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(look.read_bytes())

    def found(*_args, **_options):
        seen.append(1)
        in_a_library(number)

    monkeypatch.setattr("refacer.engine.find_faces", found)
    ended = cli("align", tmp_path, "-o", tmp_path / "out/", "--report", tmp_path / "report")
    assert (ended.code, len(seen)) == (code, 1)
    assert "a.png" not in ended.err
    assert json.loads((tmp_path / "report").read_text().splitlines()[-1])["exit_code"] == code


@pytest.mark.parametrize(
    ("number", "where", "code"),
    [(errno.EACCES, "/a", 5), (errno.EIO, "/a", 5), (errno.ENOSPC, "/a", 7), (errno.EFBIG, None, 7)],
)
def test_what_the_system_says_of_a_file_is_no_bug(cli, monkeypatch, number, where, code):
    def fails(*_args, **_options):
        raise OSError(number, os.strerror(number), where)

    monkeypatch.setattr("refacer.jobs.weights.show_list", fails)
    ended = cli("weights", "list")
    assert ended.code == code
    assert ended.err.splitlines()[-1].startswith(f"refacer: error: {where or 'an output'}")
    assert os.strerror(number) in ended.err


def test_help_has_no_letters_that_are_an_error():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    line = [sys.executable, "-m", "refacer", "run", "--help"]
    done = subprocess.run(line, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--output" in done.stdout


def test_the_installed_program_is_this_one():
    found = [point for point in entry_points(group="console_scripts") if point.name == "refacer"]
    assert all(point.load() is cli.main for point in found)
    assert 'refacer = "refacer.cli:main"' in (Path(cli.__file__).parents[1] / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nothing"], "No such command"),
        (["align", "--colour"], "No such option"),
        (["align", "not-there.png"], "does not exist"),
        (["align", "--detector", "eyes"], "not one of"),
        (["decode", "--psi", "many"], "--psi"),
        (["run", "--faces", "left"], "--faces"),
    ],
)
def test_usage_errors_are_typers_own(cli, args, says):
    ended = cli(*args)
    assert ended.code == 2
    assert says in ended.err


def test_no_input_at_a_terminal_is_a_usage_error(cli):
    ended = cli("align")
    assert ended.code == 2
    assert "no input" in ended.err


def test_nothing_on_stdin(cli, tmp_path):
    ended = cli("align", "-o", tmp_path / "x.png", stdin=b"")
    assert ended.code == 5
    assert "empty" in ended.err


def test_binary_does_not_go_to_a_terminal(cli, look):
    ended = cli("align", look, terminal=True)
    assert (ended.code, ended.out) == (2, b"")
    assert "-o" in ended.err


def test_an_input_that_is_named_keeps_stdin_unread(cli, look):
    ended = cli("align", look, "--size", 64, stdin=b"not looked at")
    assert ended.code == 0
    assert np.asarray(read_source(ended.out, max_pixels=10**5).native).shape == (64, 64, 3)


def test_version(cli):
    assert cli("--version").out == f"refacer {__version__}\n".encode()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoFace("x"), 3),
        (PassportMismatch("x"), 4),
        (InputRefused("x"), 5),
        (OutOfMemory("x"), 6),
        (OutputNotWritable("x"), 7),
        (WeightsMissing("x"), 8),
        (MemoryError(), 6),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_errors_are_a_line_and_a_code(cli, look, monkeypatch, error, code):
    def fail(*_args):
        raise error

    monkeypatch.setattr("refacer.engine.find_faces", fail)
    ended = cli("align", look, "-o", "never.png")
    assert ended.code == code
    assert ("Traceback" in ended.err) == (code == 1)
    assert ended.err.splitlines()[-1].startswith("refacer: error: ")


def test_debugging_shows_the_traceback_of_any_error(cli, bare, tmp_path, monkeypatch):
    monkeypatch.setenv("REFACER_DEBUG", "1")
    ended = cli("align", bare, "-o", tmp_path / "x.png")
    assert ended.code == 3
    assert "Traceback" in ended.err


def test_memory_that_does_not_suffice_says_what_to_lower(cli, stages, monkeypatch, tmp_path):
    calls = []

    def project(faces, *_args, **_options):
        calls.append(len(faces))
        raise MemoryError

    monkeypatch.setattr("refacer.stages.project.project", project)
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / f"in/{name}.png").write_bytes((stages / "display.face.png").read_bytes())
    ended = cli("project", tmp_path / "in/a.png", "-o", tmp_path / "c.npy")
    assert ended.code == 6
    assert "--batch" in ended.err
    assert cli("project", tmp_path / "in", "-o", tmp_path / "out", "--batch", 3).code == 1
    assert calls == [1, 3, 1, 1, 1, 1]


def test_every_command_has_help_with_an_example(cli):
    for command in ("run", "align", "project", "decode", "parse", "composite"):
        ended = cli(command, "--help")
        assert ended.code == 0
        assert f"refacer {command} " in ended.out.decode().rpartition("Example:")[2]


def test_a_wrong_option_is_met_once_not_in_every_item(cli, stages, pair, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.png").write_bytes((stages / "look.png").read_bytes())
        (tmp_path / f"in/{name}.npy").write_bytes((stages / "display.codes.npy").read_bytes())
    options = {
        ("--device", "abacus"): 2,
        ("--classes", "wings"): 2,
        ("--init", pair / "pair.json"): 5,
        ("--generator", pair / "parser.safetensors"): 5,
        ("--pair", "nobody"): 8,
        ("--report", "-"): 2,
    }
    for option, code in options.items():
        assert cli("run", tmp_path / "in", "-o", tmp_path / "out", *option).code == code, option
    assert cli("decode", tmp_path / "in", "-o", tmp_path / "out", "--generator", pair / "parser.safetensors").code == 5


def test_markup_and_width_do_not_touch_names(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    path = tmp_path / "[bold]:smile: a long name.png"
    path.write_bytes(b"no picture")
    assert str(path) in cli("align", path, "-o", tmp_path / "x.png").err


def test_a_pair_that_is_none(cli, look, tmp_path):
    assert cli("run", look, "-o", tmp_path / "x.png", "--pair", tmp_path).code == 2
    (tmp_path / "pair.json").write_text("{}")
    assert cli("run", look, "-o", tmp_path / "x.png", "--pair", tmp_path).code == 5


def test_an_output_that_cannot_be_written(cli, look, tmp_path):
    (tmp_path / "file").touch()
    assert cli("align", look, "-o", tmp_path / "file/face.png").code == 7
    assert cli("align", look, "-o", "/dev/full").code == 7
    assert cli("align", look, "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_full_stdout_is_the_output_s_fault(program, look):
    with Path("/dev/full").open("wb") as full, program("align", look, stdout=full) as process:
        told = process.stderr.read()
    assert process.returncode == 7
    assert b"stdout" in told


def test_warnings_of_ours_are_lines_each_once(capsys):
    show = warning_shower()
    for message, category in (("a.tif: two pages", RefacerWarning),) * 2 + (("old", DeprecationWarning),):
        show(message, category, "x.py", 7)
    lines = ["refacer: warning: a.tif: two pages", "x.py:7: DeprecationWarning: old"]
    assert capsys.readouterr().err.splitlines() == lines
