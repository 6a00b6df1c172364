"""The way to a Ray cluster, which is an optional extra, and what is raised where a part of it has gone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from refacer import console
from refacer.errors import UsageError

LOCAL, AUTO = "local", "auto"

REACH_S = 5.0
"""Until an address counts as dead."""

STORE_BYTES = 512 * 1024**2
"""Memory by which workers on this machine hand over results."""


@contextmanager
def connected(where: str) -> Iterator[Any]:
    """Ray, connected to a cluster; `local` starts one on this machine for so long. UsageError where there is none."""
    if find_spec("ray") is None:
        raise UsageError("--cluster: needs Ray, which is not installed; run `pip install 'refacer[cluster]'`")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    import ray

    how: dict[str, Any] = {"address": where}
    if where == LOCAL:
        how |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _reach(where)
        ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = console.one_line(str(error).strip().partition("\n")[0].partition(". ")[0])
        mend = "start one with `ray start --head`, or use --cluster local"
        raise UsageError(f"--cluster {where}: no cluster is there ({reason}); {mend}") from error
    _silence()
    signal.signal(signal.SIGTERM, before)  # Ray's own would leave with another code
    try:
        yield ray
    finally:
        ray.shutdown()


def _silence() -> None:
    """Keep Ray from printing news of its cluster to stdout, which is the payload's; it offers no public way."""
    from ray._private import worker

    worker._worker_logs_enabled = False


def _reach(where: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT; Ray itself would try for minutes and then end the process."""
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if where not in (LOCAL, AUTO):
        with socket.create_connection((host, int(port)), timeout=REACH_S):
            pass


def losses() -> tuple[type[Exception], ...]:
    """What is raised where a worker, or its machine, or what it made has gone, or where its disk is full."""
    from ray import exceptions

    return (
        exceptions.RayActorError,
        exceptions.ObjectLostError,
        exceptions.ObjectStoreFullError,
        exceptions.OutOfDiskError,
    )
