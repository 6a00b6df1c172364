"""One command at a time in a folder: the lock ends with the process that holds it, however that ends."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from refacer.errors import OutputNotWritable

LOCK = ".lock"


class FolderLock:
    """The claim of one call of `command` on a folder."""

    def __init__(self, folder: Path, command: str) -> None:
        self._folder, self._command = folder, command
        self._lock = FileLock(folder / LOCK)

    def claim(self) -> None:
        """Keep others out until `release`; makes the folder; claiming again is no harm.

        Raises OutputNotWritable where another call is at work, or where the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            advice = "wait for it or stop it, or choose another -o"
            problem = f"{self._folder}: another `{self._command}` is at work here"
            raise OutputNotWritable(f"{problem}; {advice}") from error
        except OSError as error:
            problem = f"{self._folder}: cannot be written ({error.strerror})"
            raise OutputNotWritable(f"{problem}; choose another -o") from error

    def release(self) -> None:
        """Give up the claim, so that another call can have the folder."""
        self._lock.release(force=True)

    def __enter__(self) -> Self:
        self.claim()
        return self

    def __exit__(self, *_stop: object) -> None:
        self.release()
