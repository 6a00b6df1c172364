"""The frame of every command: a report from the first moment to the last, failures that stop nothing, an exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import typer

from refacer import console, interruption
from refacer.device import is_out_of_memory
from refacer.errors import InputRefused, OutOfMemory, OutputNotWritable, RefacerError
from refacer.jobs.report import Report, exit_code
from refacer.options import FileOptions


class Frame:
    """A command at work: `with Frame(...) as frame`, then `frame.leave()`.

    planned: how many items there are; facts: more for the report's summary, asked for at the end; advice: what to lower
    where memory does not suffice. However the work ends, the report holds a summary with the exit code.
    """

    def __init__(
        self,
        files: FileOptions,
        planned: int,
        *,
        facts: Callable[[], Mapping[str, Any]] = dict,
        advice: str = "use --device cpu",
    ) -> None:
        self.files, self.planned, self.facts, self.advice = files, planned, facts, advice
        self.report = Report(files.report, planned)

    def __enter__(self) -> Frame:
        return self

    def __exit__(self, _type: type[BaseException] | None, stop: BaseException | None, _: TracebackType | None) -> None:
        code = self.code if stop is None else code_of(stop)
        self.report.facts.update(self.facts())
        if self.files.verbose:
            told = ", ".join(f"{name} {value}" for name, value in self.report.facts.items() if name != "weights")
            console.note(told)
        self.report.close(code, self.planned)
        if self.files.json:
            body = {**self.report.summary(code, self.planned), "results": self.report.results}
            console.payload_text(json.dumps(body))

    @property
    def code(self) -> int:
        """1 where an item failed, else 0."""
        return 1 if self.report.count("failed") else 0

    def leave(self) -> None:
        """End the command with its exit code."""
        if self.code:
            raise typer.Exit(self.code)

    def failed(self, name: str, error: Exception) -> None:
        """Record the failure of an item and go on; raises it where it is the only item, or one that all would meet."""
        interruption.check()
        ends_all = isinstance(error, console.ClosedPipeError) or getattr(error, "ends_all", False)
        error = error if ends_all else self._worded(name, error)
        self.report.add_failure(name, error)
        if self.planned == 1 or ends_all:
            raise error
        console.error(error)
        if self.files.fail_fast:
            raise typer.Exit(1)

    def _worded(self, name: str, error: Exception) -> Exception:
        """The error as the user meets it, with the input's name in it."""
        if is_out_of_memory(error):
            return OutOfMemory(f"{name}: memory did not suffice on this device; {self.advice}")
        if isinstance(error, OSError):
            told = console.worded(error)
            full = isinstance(told, OutputNotWritable)
            return told if full else InputRefused(f"{name}: {error.strerror or error}; check the file")
        if isinstance(error, RefacerError) and name not in str(error):
            return type(error)(f"{name}: {error}").with_traceback(error.__traceback__)
        return error


def code_of(stop: BaseException) -> int:
    """The exit code that an exception ends in."""
    if isinstance(stop, SystemExit | typer.Exit):
        return int(getattr(stop, "exit_code", None) or getattr(stop, "code", None) or 0)
    if isinstance(stop, KeyboardInterrupt):
        return 130
    return exit_code(stop)
