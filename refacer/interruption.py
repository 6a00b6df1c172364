"""SIGINT and SIGTERM end a command by an exception, so that temporary files go; which one came is remembered.

The exception may be raised inside a library that makes another error of it, or drops it: a file then looks damaged and
the work goes on. What came is therefore asked for wherever an error is met.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
_came: list[int] = []


def listen() -> None:
    """Handle both signals from now on; an ignored SIGINT, as background jobs of a shell have it, stays ignored."""
    _came.clear()
    signal.signal(signal.SIGTERM, _receive)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _receive)


def code() -> int:
    """The exit code of the first signal that came; 0 while none has."""
    return _CODES[signal.Signals(_came[0])] if _came else 0


def check() -> None:
    """Raise again what a signal has raised, if one came."""
    if _came:
        _stop(_came[0])


def _receive(number: int, _frame: FrameType | None) -> NoReturn:
    _came.append(number)
    _stop(number)


def _stop(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(TERMINATED)
