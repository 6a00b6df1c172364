"""What a run of `finetune` keeps on disk: configuration, log, messages, states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refacer import console
from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.files import read_bytes, sync, write_atomic
from refacer.files.folder_lock import FolderLock
from refacer.training.checkpoint import checkpoints, latest, remove_old, remove_parts, save_checkpoint

CONFIGURATION, LOG, MESSAGES, STATES = "config.json", "log.jsonl", "log.txt", "checkpoints"
KEPT_OF_A_RUN = (LOG, MESSAGES, STATES, "samples", "report", "report.html", "refused.json", "tensorboard")
"""What another run in the same folder must not mix with."""


class RunFolder:
    """The folder of one run; nothing is made before something is written."""

    def __init__(self, path: Path, *, quiet: bool = False) -> None:
        self.path, self.quiet = path, quiet
        self.lock = FolderLock(path, "refacer finetune")

    # ------------------------------------------------------------ for people

    def note(self, message: str) -> None:
        """Say something on stderr unless quiet, and keep it."""
        if not self.quiet:
            console.note(message)
        self._keep(message)

    def warn(self, message: str) -> None:
        """Say something that the user should know, and keep it."""
        console.warn(message)
        self._keep(f"warning: {message}")

    def _keep(self, message: str) -> None:
        self._append(MESSAGES, console.one_line(message))

    # ------------------------------------------------------------ configuration and log

    def configuration(self) -> Mapping[str, Any] | None:
        """What the run in this folder was asked for; None without a run. Raises InputRefused."""
        path = self.path / CONFIGURATION
        if not path.is_file():
            return None
        try:
            return dict(json.loads(read_bytes(path)))
        except (ValueError, TypeError) as error:
            raise InputRefused(f"{path}: damaged; use another -o or --resume never") from error

    def write_json(self, name: str, body: Any) -> None:
        """Write a file of JSON."""
        write_atomic(self.path / name, json.dumps(body, indent=1).encode() + b"\n")

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a tick to the log."""
        self._append(LOG, json.dumps(line))

    def ticks(self) -> list[dict[str, Any]]:
        """The log; the last line is left out where a kill has cut it."""
        path = self.path / LOG
        lines = path.read_text().splitlines() if path.is_file() else []
        return [tick for tick in map(_decoded, lines) if tick is not None]

    def trim_log(self, images_seen: int) -> None:
        """Drop ticks that no state holds: they will be seen again."""
        kept = [tick for tick in self.ticks() if tick["images_seen"] <= images_seen]
        if (self.path / LOG).is_file():
            write_atomic(self.path / LOG, "".join(f"{json.dumps(tick)}\n" for tick in kept).encode())

    def _append(self, name: str, line: str) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
                sync(file)  # a state must not outlive the log before it
        except OSError as error:
            problem = f"{self.path / name}: cannot be written ({error.strerror})"
            raise OutputNotWritable(f"{problem}; the same command goes on from the last state") from error

    # ------------------------------------------------------------ states

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state; what was kept before stays whole where that fails."""
        save_checkpoint(self.path / STATES, state)

    def open(self, resume: str) -> tuple[Path, bytes] | None:
        """The state to go on from as its bytes, None for a fresh start."""
        remove_parts(self.path)
        if resume == "never":
            return None
        if resume != "auto":
            return Path(resume), read_bytes(Path(resume))
        newest, damaged = latest(self.path / STATES)
        if damaged and newest is None:
            raise InputRefused(f"{damaged[0]}: damaged, and none before it is whole; --resume never starts anew")
        for path in damaged:
            self.warn(f"{path}: damaged, the one before is used")
            path.rename(path.with_name(f"{path.name}.damaged"))
        remove_old(self.path / STATES)  # a kill may have come between writing and removing
        return newest

    def clear(self, resume: str) -> None:
        """Move away what an earlier run has left and `resume` does not go on from."""
        if resume == "never":
            self._set_aside([self.path / name for name in KEPT_OF_A_RUN])
        elif resume != "auto":
            self._set_aside([path for path in checkpoints(self.path / STATES) if path.name > Path(resume).name])

    def _set_aside(self, paths: list[Path]) -> None:
        """Move what another run has left to `before-N`: nothing is deleted, nothing mixes."""
        there = [path for path in paths if path.exists()]
        if not there:
            return
        number = 1 + max((int(p.name[7:]) for p in self.path.glob("before-*") if p.name[7:].isdecimal()), default=0)
        aside = self.path / f"before-{number}"
        for path in there:
            target = aside / path.relative_to(self.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        self.note(f"{aside}: holds what an earlier run left here")


def refuse_difference(place: Path, difference: str) -> None:
    """Raise UsageError where a run's configuration differs from the one asked for."""
    if difference:
        raise UsageError(f"{place}: its run differs in {difference}; use another -o or --resume never")


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return None
