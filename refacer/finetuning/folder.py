"""What a run of training keeps on disk: configuration, log, messages, states."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from refacer import console
from refacer.errors import InputRefused, OutputNotWritable
from refacer.files import read_bytes, sync, write_atomic
from refacer.files.folder_lock import FolderLock
from refacer.files.json_text import parse_json
from refacer.training.checkpoint import checkpoints, latest, remove_old, remove_parts, save_checkpoint

CONFIGURATION, LOG, MESSAGES, STATES = "config.json", "log.jsonl", "log.txt", "checkpoints"
KEPT_OF_A_RUN = (LOG, MESSAGES, STATES, "samples", "report", "report.html", "refused.json", "tensorboard")
"""What another run in the same folder must not mix with."""

MAY_CHANGE = {"kimg", "tick_kimg", "sample_count", "range_faces", "accumulate", "batch_gpu", "compile"}
"""Options that a resumed run may change without becoming another run; the device is none of its options."""


def spelled(name: str, own: Mapping[str, str], options: Collection[str]) -> str:
    """How users know a value of a configuration: by a word of its own, as the option of that name, or by its name."""
    return own.get(name) or (f"--{name.replace('_', '-')}" if name in options else name)


class RunFolder:
    """The folder of one run of `command`, such as 'refacer finetune'; nothing is made before something is written."""

    def __init__(self, path: Path, command: str, *, quiet: bool = False) -> None:
        self.path, self.quiet = path, quiet
        self.lock = FolderLock(path, command)

    # ------------------------------------------------------------ for people

    def note(self, message: str) -> None:
        """Say something on stderr unless quiet, and keep it."""
        if not self.quiet:
            console.note(message)
        self._append(MESSAGES, console.one_line(message))

    def warn(self, message: str) -> None:
        """Say something that the user should know, and keep it."""
        console.warn(message)
        self._append(MESSAGES, console.one_line(f"warning: {message}"))

    # ------------------------------------------------------------ configuration and log

    def configuration(self) -> dict[str, Any] | None:
        """What the run in this folder was asked for; None without a run. Raises InputRefused."""
        path = self.path / CONFIGURATION
        if not path.is_file():
            return None
        try:
            return dict(parse_json(read_bytes(path)))
        except (ValueError, TypeError) as error:
            raise InputRefused(f"{path}: damaged; use another -o or --resume never") from error

    def write_json(self, name: str, body: Any) -> None:
        """Write a file of JSON."""
        write_atomic(self.path / name, json.dumps(body, indent=1).encode() + b"\n")

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a tick to the log."""
        self._append(LOG, json.dumps(line))

    def ticks(self) -> list[dict[str, Any]]:
        """The log; lines that a kill has cut, or that are damaged otherwise, are left out."""
        path = self.path / LOG
        lines = read_bytes(path).splitlines() if path.is_file() else []
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


def difference(old: Mapping[str, Any], new: Mapping[str, Any], spelled: Callable[[str], str]) -> str:
    """What differs between two configurations, as text; what an older version did not record is not compared.

    spelled: how users know a value of the configuration.
    """
    flat_old, flat_new = _flat(old), _flat(new)
    names = [n for n in flat_new if n in flat_old and n not in MAY_CHANGE and flat_old[n] != flat_new[n]]
    return ", ".join(f"{spelled(n)} ({_short(flat_old[n])} there, {_short(flat_new[n])} here)" for n in names)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """One level of names, and values as JSON keeps them: a tuple as a list."""
    items: dict[str, Any] = {}
    for name, value in values.items():
        items.update(value if isinstance(value, Mapping) else {name: value})
    return json.loads(json.dumps(items))


def _short(value: Any) -> str:
    """A value for a message; of a sha256 the first digits."""
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and text.isalnum() else text


def _decoded(line: bytes) -> dict[str, Any] | None:
    """A tick; None for a line that is none."""
    try:
        tick = parse_json(line)
    except ValueError:
        return None
    return tick if isinstance(tick, dict) and type(tick.get("images_seen")) is int else None
