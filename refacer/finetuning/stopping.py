"""Ctrl-C and SIGTERM during a long run: the first asks it to save and leave, a second leaves at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHELL = 128
"""A shell's exit code for a process that a signal ended is this and the signal's number."""

REPEAT_S = 2.0
"""torchrun passes on the Ctrl-C that its processes have had from the terminal: within this time it is the same one."""

NOTE = b"refacer: saving after this iteration, then leaving; a second signal leaves at once\n"


class Stopping:
    """The signal that came, 0 for none."""

    def __init__(self, *, quiet: bool = False, launched: bool | None = None) -> None:
        self.number, self.quiet, self._since = 0, quiet, 0.0
        self._launched = "TORCHELASTIC_RUN_ID" in os.environ if launched is None else launched

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """The handler: take note, or leave at once at a second signal."""
        now = time.monotonic()
        if self.number and not (self._launched and now - self._since < REPEAT_S):
            raise SystemExit(SHELL + number)
        if not self.number and not self.quiet:
            os.write(2, NOTE)  # a handler may interrupt a print, which cannot be entered twice
        self.number, self._since = self.number or number, self._since or now


@contextmanager
def stopping(*, quiet: bool = False) -> Iterator[Stopping]:
    """Handle both signals until the end of the block; nothing is handled outside the main thread."""
    asked = Stopping(quiet=quiet)
    handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, asked.receive) for number in handled}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
