"""What became of each item as it happens, and a summary at the end: lines of JSON, or a page to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from refacer import __version__, console
from refacer.errors import OutputNotWritable, RefacerError, UsageError
from refacer.jobs.page import PAGE_SUFFIXES, Page
from refacer.jobs.views import View


class Report:
    """Collects results; `path` gets them at once, so that an interrupted run leaves them.

    A path that ends in .html becomes a page, another one lines of JSON. planned: items that are expected.
    """

    def __init__(self, path: Path | None, planned: int = 0) -> None:
        self.path = path
        self.results: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.page = _page(path, planned) if path and path.suffix.lower() in PAGE_SUFFIXES else None
        self._lines = Lines(None if self.page else path, "--report")
        self._start = time.perf_counter()

    def add(
        self,
        name: str,
        status: str,
        outputs: list[str],
        seconds: float,
        facts: Mapping[str, Any],
        views: Sequence[View] = (),
    ) -> None:
        """One item that is done or skipped, with the pictures that a page shows of it."""
        line = {"input": name, "status": status, "outputs": outputs, "exit_code": 0, "error": None, **facts}
        self._add({**line, "seconds": round(seconds, 3)}, views)

    def add_failure(self, name: str, error: Exception) -> None:
        """One item that failed."""
        line = {"input": name, "status": "failed", "outputs": [], "exit_code": exit_code(error)}
        self._add({**line, "error": console.describe(error), "seconds": None})

    def count(self, status: str) -> int:
        """How many items ended like this."""
        return sum(result["status"] == status for result in self.results)

    def summary(self, code: int, planned: int) -> dict[str, Any]:
        """The last line of the report."""
        counts = {status: self.count(status) for status in ("done", "skipped", "failed")}
        left = planned - len(self.results)
        seconds = round(time.perf_counter() - self._start, 3)
        return {
            "summary": True, "items": planned, **counts, "not_started": left,
            "exit_code": code, "seconds": seconds, "refacer": __version__, **self.facts,
        }  # fmt: skip

    def close(self, code: int, planned: int) -> None:
        """Write the summary and close the file."""
        with self._writing():
            if self.page:
                self.page.close(self.summary(code, planned))
            with self._lines:
                self._lines.write(self.summary(code, planned))

    def _add(self, line: dict[str, Any], views: Sequence[View] = ()) -> None:
        self.results.append(line)
        with self._writing():
            self._lines.write(line)
            if self.page:
                self.page.write(line, views)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk is an error of ours, not of the item at work."""
        try:
            yield
        except OSError as error:
            assert self.path is not None
            raise _unwritable(self.path, "--report", error) from error


def exit_code(error: BaseException) -> int:
    """The code of an error; a bug has 1."""
    return error.exit_code if isinstance(error, RefacerError | console.ClosedPipeError) else 1


class Lines:
    """A text file that is written line by line while the work goes on; no path, no file."""

    def __init__(self, path: Path | None, option: str) -> None:
        self._file = _opened(path, option) if path else None

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def write(self, values: Mapping[str, Any]) -> None:
        """Add a line of JSON, at once."""
        if self._file:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()

    def write_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The same for several."""
        for row in rows:
            self.write(row)


def _opened(path: Path, option: str) -> IO[str]:
    """Open a file for writing, with its folder; raises OutputNotWritable, or UsageError for stdout."""
    if str(path) == "-":
        raise UsageError(f"{option} -: names a file; for the report on stdout use --json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, option, error) from error


def _page(path: Path, planned: int) -> Page:
    """The page that a report becomes; raises OutputNotWritable."""
    try:
        return Page(path, planned)
    except OSError as error:
        raise _unwritable(path, "--report", error) from error


def _unwritable(path: Path, option: str, error: OSError) -> OutputNotWritable:
    return OutputNotWritable(f"{option} {path}: cannot be written ({error.strerror}); choose another place")
