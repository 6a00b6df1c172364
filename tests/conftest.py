"""A tiny pair, display images with one and with two faces, and the program run in this process or in one of its own."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.cli import main
from tests.tiny_pair import write_pair

DATA = Path(__file__).parent / "data"
KINDS = {"gpu": "a CUDA device", "browser": "Chromium"}
"""What the tests of a marker need; without it they are skipped."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which kinds of tests were skipped, and the one command that runs them where they can run."""
    skipped = [report for report in terminalreporter.getreports("skipped") if hasattr(report, "keywords")]
    counts = {kind: sum(kind in report.keywords for report in skipped) for kind in KINDS}
    kinds = [kind for kind, count in counts.items() if count]
    if kinds:
        needs = "; ".join(f"{counts[kind]} {kind} tests need {KINDS[kind]}" for kind in kinds)
        terminalreporter.write_sep("-", "skipped on this machine", yellow=True)
        terminalreporter.write_line(f"{needs}. Where there is one: python -m pytest -m '{' or '.join(kinds)}'")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks are quickest on one thread, all the more where others work too."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_installed_weights(tmp_path_factory) -> Iterator[None]:
    """What is installed on this machine must not change what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFACER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> Path:
    """The folder of a pair that draws 64 pixels and projects in two steps."""
    folder = tmp_path_factory.mktemp("pair")
    write_pair(folder)
    return folder


@pytest.fixture(scope="session")
def look() -> Path:
    """A dressed figure, 300x400 pixels, one face."""
    return DATA / "display.png"


@pytest.fixture(scope="session")
def two(tmp_path_factory, look) -> Path:
    """The same figure twice, the right one smaller."""
    figure = Image.open(look)
    small = figure.resize((240, 320), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (540, 400), (60, 70, 50))
    canvas.paste(figure, (0, 0))
    canvas.paste(small, (300, 80))
    path = tmp_path_factory.mktemp("two") / "two.png"
    canvas.save(path)
    return path


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Path:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("bare") / "bare.png"
    Image.fromarray(np.full((90, 80, 3), 120, np.uint8)).save(path)
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: bytes
    err: str


class Stream(io.TextIOWrapper):
    """A standard stream over bytes, perhaps a terminal."""

    def __init__(self, data: bytes = b"", *, terminal: bool = False) -> None:
        self.raw_bytes = io.BytesIO(data)
        self.terminal = terminal
        super().__init__(self.raw_bytes, encoding="utf-8", errors="backslashreplace", write_through=True)

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(scope="session")
def cli(pair: Path) -> Callable[..., Ended]:
    """A function: arguments -> how `refacer` ended, run in this process with the tiny pair."""

    def run(*args: object, stdin: bytes | None = None, terminal: bool = False) -> Ended:
        streams = Stream(stdin or b"", terminal=stdin is None), Stream(terminal=terminal), Stream()
        with pytest.MonkeyPatch.context() as patch:
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            patch.setenv("REFACER_PAIR", str(pair))
            patch.setattr(signal, "signal", lambda *_: None)
            with pytest.raises(SystemExit) as stop:
                main([str(arg) for arg in args])
        out, err = (stream.raw_bytes.getvalue() for stream in streams[1:])
        return Ended(int(stop.value.code or 0), out, err.decode())

    return run


@pytest.fixture(scope="session")
def stages(tmp_path_factory, cli, look) -> Path:
    """A folder with look.png, what `run` makes of it (display.*.png and .npy) and look.real.png."""
    folder = tmp_path_factory.mktemp("stages")
    shutil.copy(look, folder / "look.png")
    ended = cli("run", look, "-o", folder / "look.real.png", "--keep-stages", folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def program(pair: Path) -> Callable[..., Any]:
    """A function: arguments -> a running process of the program, with pipes."""

    def start(*args: object, **options: Any) -> Any:
        variables = {**os.environ, "REFACER_PAIR": str(pair), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [str(Path(sys.executable).parent / "refacer"), *map(str, args)]
        return subprocess.Popen(command, env=variables, preexec_fn=_default_interrupt, **{**pipes, **options})

    return start


def _default_interrupt() -> None:
    """A background job of a shell ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
