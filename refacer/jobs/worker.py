"""A worker: a process on a machine of a cluster, with networks of its own.

Nothing here imports torch: threads are settled first.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from refacer import __version__, console
from refacer.errors import RefacerError, UsageError, WeightsMissing


@dataclass(frozen=True)
class Recipe:
    """What a worker is made by.

    make: device -> (signature, what does a task); it is pickled. signature: what the worker's must equal, else it would
    give other pixels. seen: a path that every machine must see, None for none. device: 'auto', 'cpu' or 'cuda'. cores:
    of a worker without a GPU.
    """

    make: Callable[[str], tuple[Any, Callable[[Any], Any]]]
    signature: Any
    seen: str | None
    device: str = "auto"
    cores: int = 1


@dataclass(frozen=True)
class Settings:
    """What a worker is told, the recipe's `make` as bytes: it must not be read before threads are settled."""

    make: bytes
    signature: bytes
    seen: str | None
    device: str
    folder: str
    variables: Mapping[str, str]


class Worker:
    """The process on a machine of the cluster."""

    def __init__(self, settings: Settings) -> None:
        os.environ.update(settings.variables)
        with suppress(OSError):  # paths may be absolute
            os.chdir(settings.folder)
        self._settings = settings
        self._do: Callable[[Any], Any] | None = None

    def refusal(self, version: str) -> RefacerError | None:
        """Read all that tasks need; why that is impossible here, or None."""
        from refacer.files.urls import as_path  # torch may come with it

        settings = self._settings
        if version != __version__:
            return UsageError(f"has refacer {__version__}, not {version}; install the same one")
        if settings.seen is not None and not as_path(settings.seen).exists():
            return UsageError(f"{settings.seen} is not there; all machines must share the folder")
        try:
            signature, self._do = pickle.loads(settings.make)(settings.device)
        except RefacerError as error:
            return error
        except Exception as error:
            return RefacerError(console.one_line(f"{type(error).__name__}: {error}"))
        if signature != pickle.loads(settings.signature):
            return WeightsMissing(
                "has other weights than this machine, which would give other pixels; install the same"
            )
        return None

    def do(self, task: Any) -> Any:
        """One task."""
        assert self._do is not None
        return self._do(task)


def portable(error: Exception) -> Exception:
    """An error that can be sent. A bug's traceback goes along as text."""
    if isinstance(error, RefacerError):
        return error
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
