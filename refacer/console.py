"""Everything for people goes to stderr, the payload to stdout; both only through this module."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from refacer.errors import InputRefused, OutOfMemory, OutputNotWritable, RefacerError, RefacerWarning

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class ClosedPipeError(Exception):
    """Whoever read our stdout has gone."""

    exit_code = 141


def error(problem: Exception) -> None:
    """One line for the user; the traceback before it for our own bugs and with REFACER_DEBUG=1."""
    if os.environ.get("REFACER_DEBUG") == "1" or not isinstance(problem, RefacerError):
        _write("".join(traceback.format_exception(problem)).rstrip())
    _write(Text.assemble(("refacer: error: ", "bold red"), one_line(describe(problem))))


def worded(problem: Exception) -> Exception:
    """The same error, or the one of ours that says it: want of memory, and what the system says of a file."""
    if isinstance(problem, OSError) and problem.errno in _FULL:  # a write does not say where
        where = problem.filename or "an output or a temporary file"
        return OutputNotWritable(f"{where}: {problem.strerror}; make room, or choose another place")
    if isinstance(problem, OSError) and problem.filename is not None:
        return InputRefused(f"{problem.filename}: {problem.strerror}; check it")
    lacking = isinstance(problem, MemoryError)
    if not lacking and "torch" in sys.modules:
        from refacer.device import is_out_of_memory

        lacking = is_out_of_memory(problem)
    told = "memory did not suffice on this device; give smaller pictures, lower --batch, or use --device cpu"
    return OutOfMemory(told) if lacking else problem


def warn(message: str) -> None:
    """Something the user should know though the work went on."""
    _write(Text.assemble(("refacer: warning: ", "yellow"), one_line(message)))


def warning_shower() -> Callable[..., None]:
    """What `warnings.showwarning` is while a command runs: ours in a line, each once, others as Python shows them."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        if not issubclass(category, RefacerWarning):
            _write(warnings.formatwarning(message, category, filename, lineno).rstrip())
        elif str(message) not in told:
            told.add(str(message))
            warn(str(message))

    return show


def note(message: str) -> None:
    """What happened, in a line."""
    _write(Text(f"refacer: {one_line(message)}"))


def silent(_message: str) -> None:
    """What `note` is where nothing is to be said."""


def describe(problem: BaseException) -> str:
    """The message of an error; a bug says its type and where to report it."""
    if isinstance(problem, ClosedPipeError):
        return "stdout was closed"
    if isinstance(problem, RefacerError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}; this is a bug of refacer, please report it with the lines above"


def one_line(message: str) -> str:
    """Line breaks, control characters and undecodable names, as a file name may hold them, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def payload(data: bytes) -> None:
    """Write the result to stdout; raises ClosedPipeError where nobody reads it, OutputNotWritable where it is full."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError as broken:
        raise ClosedPipeError from broken
    except OSError as error:
        raise OutputNotWritable(
            f"stdout: cannot be written ({error.strerror}); choose another place with -o"
        ) from error


def payload_text(text: str) -> None:
    """Write a line of text to stdout."""
    payload(f"{text}\n".encode())


@dataclass
class Bars:
    """Two bars on a terminal: items, and steps within an item. Without a terminal nothing is drawn."""

    progress: Progress
    items: TaskID
    steps: TaskID

    def show_item(self, name: str, done: int, faces: int | None = None) -> None:
        """Name the item at work, how many are done and how many faces they had."""
        told = "" if faces is None else f"{faces} faces"
        self.progress.update(self.items, description=one_line(name), completed=done, faces=told)
        self.progress.update(self.steps, visible=False)

    def show_steps(self, done: int, total: int) -> None:
        """A `Progress` callback for the stages."""
        self.progress.update(self.steps, completed=done, total=total, visible=total > 1)


@contextmanager
def bars(total: int, *, quiet: bool) -> Iterator[Bars]:
    """Progress bars for `total` items with faces, rate and time left, off when stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )  # --help is quick

    class RateColumn(ProgressColumn):
        """Items a minute so far; steps a second are nobody's concern."""

        def render(self, task: Task) -> Text:
            return Text(rate(task.completed, task.elapsed) if task.id == items else "")

    stderr = _Stderr()
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[faces]}", markup=False), RateColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    disabled = quiet or not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=disabled) as progress:
        items = progress.add_task("", total=total, visible=total > 1, faces="")
        yield Bars(progress, items, progress.add_task("steps", visible=False, faces=""))


def rate(done: float, elapsed_s: float | None) -> str:
    """How fast it goes, in the unit that gives a number people can read; empty at the start."""
    if not done or not elapsed_s:
        return ""
    each_s = elapsed_s / done
    return f"{60 / each_s:.0f}/min" if each_s < 6 else f"{3600 / each_s:.0f}/h"


@contextmanager
def transfer(name: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of bytes: gives a function to call with (bytes here, bytes in all or None)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    stderr = _Stderr()
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    disabled = quiet or not stderr.is_terminal
    with Progress("{task.description}", *columns, console=stderr, transient=True, disable=disabled) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def show(*tables: Table, width: int = 0) -> None:
    """Tables for people; width: letters that they need, also on a terminal that is narrower."""
    stderr = _Stderr()
    stderr.width = max(stderr.width, width)
    stderr.print(*tables)


def open_streams() -> None:
    """Make the standard streams fit for all that is written: no letter is an error there.

    Gives those that were closed (`2>&-`) a place, before another file is opened under their number. Nothing can be
    read there or written as a result; what is for people is dropped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)  # gets the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # help has letters that a locale may lack


class _Stderr(Console):
    """stderr, which whoever reads it may close: the work goes on, only nothing more is told."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)

    def on_broken_pipe(self) -> None:
        """Drop what it holds and what comes; Rich would drop stdout and end the program."""
        self.quiet = True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)


def _write(text: Text | str) -> None:
    _Stderr().print(text, markup=False, soft_wrap=True)
