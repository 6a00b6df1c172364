"""Commands at work on small inputs with tiny networks: each takes a second or a few, and can be started by the hundred.

A job is started by forking this process, which has loaded everything, so that a start costs nothing: a kill then falls
into the work and not into loading torch.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance

from refacer import cli
from refacer.weights.bases import encode_base
from tests.tiny import tiny_discriminator, tiny_generator
from tests.tiny_pair import write_pair
from tests.weights import writers

LOOK = Path(__file__).parents[2] / "tests/data/display.png"
BASE: dict[str, Any] = {"img_resolution": 8, "channel_base": 64}
NO_EXACT_BYTES = ("log.jsonl", "log.txt", "report.html", "report.ndjson", ".lock")
"""Files that say how long something took, and locks, which stay."""


@dataclass(frozen=True)
class Job:
    """A command line; {place} and {out} stand for its inputs and for where it writes.

    other: options that give other results there.
    """

    words: str
    other: str

    def command(self, place: Path, out: Path, other: bool = False) -> list[str]:
        """The arguments; other: those that give another result in the same place."""
        return f"{self.words} {self.other if other else ''}".format(place=place, out=out).split()


JOBS: Mapping[str, Job] = {
    "run": Job(
        "run {place}/looks -o {out}/ --report {out}/report.ndjson --pair {place}/pair --way translate -v",
        "--strength 0.3 --force",
    ),
    "dataset": Job("dataset {place}/looks -o {out} --size 64 --min-size 20 --jobs 1", "--size 32"),
    "weights import": Job("weights import {place}/one.pkl --as thing --force", "--as thing"),
    "distill": Job(
        "distill {place}/faces -o {out} --pair {place}/pair --batch 2 --kimg 0.006 --tick 0.002 --range-faces 16"
        " --warmup-kimg 0.002 --adversarial-kimg 0.002 --device cpu --deterministic",
        "--seed 1 --resume never",
    ),
    "finetune": Job(
        "finetune {place}/small -o {out} --base {place}/base --batch 2 --kimg 0.012 --tick 0.004 --aug-p 0.3"
        " --device cpu --deterministic",
        "--seed 1 --resume never",
    ),
}


def make_place(place: Path) -> None:
    """All inputs of the jobs."""
    shutil.rmtree(place, ignore_errors=True)
    for name in ("looks", "faces", "small", "pair", "base"):
        (place / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    with Image.open(LOOK) as look:
        for i in range(3):
            ImageEnhance.Brightness(look).enhance(1 - 0.1 * i).save(place / f"looks/{i}.png")
    for i in range(5):
        small = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        for name, side in (("faces", 64), ("small", 8)):
            small.resize((side, side), Image.Resampling.BICUBIC).save(place / f"{name}/{i}.png")
    write_pair(place / "pair")
    networks = tiny_generator(**BASE), tiny_discriminator(**BASE)
    for name, data in encode_base(*networks, {"licence": "CC0-1.0", "commercial": "yes"}).items():
        (place / "base" / name).write_bytes(data)
    for name, seed in (("one", 0), ("two", 1)):
        (place / f"{name}.pkl").write_bytes(writers.snapshot(tiny_generator(seed=seed), tiny_discriminator(seed=seed)))


@dataclass
class Running:
    """A job in a process of its own."""

    pid: int
    said: Path
    ended: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None where it has not ended by then."""
        until = time.monotonic() + seconds
        while self.ended is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.ended = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                return None
            else:
                time.sleep(0.002)
        return self.ended

    def finish(self, seconds: float) -> int | None:
        """The exit code as `wait` gives it; what has not ended by then is killed, so that it writes no more."""
        if (code := self.wait(seconds)) is None:
            self.send(signal.SIGKILL)
            os.waitpid(self.pid, 0)
        return code

    def send(self, number: int) -> None:
        """Send a signal, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def told(self) -> str:
        """What it has said on stderr."""
        return self.said.read_text(errors="replace") if self.said.is_file() else ""


def start(
    words: list[str],
    home: Path,
    said: Path,
    *,
    pipe: tuple[int, int] | None = None,
    before: Callable[[], object] | None = None,
) -> Running:
    """Fork, and run the command there. pipe: takes both its streams; before: what to do there first."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Running(pid, said)
    code = 70
    try:
        code = _in_child(words, home, said, pipe, before)
    except KeyboardInterrupt:  # before the program handles signals
        code = 130
    finally:
        os._exit(code)


def _in_child(
    words: list[str], home: Path, said: Path, pipe: tuple[int, int] | None, before: Callable[[], object] | None
) -> int:
    os.environ["REFACER_HOME"] = str(home)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said.parent.mkdir(parents=True, exist_ok=True)
    if pipe:
        os.close(pipe[0])
    stream = pipe[1] if pipe else os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    torch.manual_seed(os.getpid())
    if before:
        before()
    try:
        cli.main(words)
    except SystemExit as stop:
        for each in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                each.flush()
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder whose content is exact, by name."""
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not is_unfinished(path)
        and path.name not in NO_EXACT_BYTES
        and not path.name.startswith("events.out.tfevents")
    }


def _digest(path: Path) -> str:
    """sha256 of the bytes; of a state what it holds, for equal objects are stored once or twice as they come."""
    if path.suffix != ".pt":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with suppress(Exception):
        state = torch.load(path, map_location="cpu", weights_only=True)
        return hashlib.sha256(repr(_spelled(state)).encode()).hexdigest()
    return "damaged"


def _spelled(value: Any) -> Any:
    """Nested values with each tensor as its bytes."""
    if isinstance(value, torch.Tensor):
        bits = value.contiguous().view(torch.uint8) if value.dim() else value.reshape(1).view(torch.uint8)
        return str(value.dtype), tuple(value.shape), hashlib.sha256(bits.numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return [(str(key), _spelled(inner)) for key, inner in value.items()]
    return [_spelled(inner) for inner in value] if isinstance(value, list | tuple) else value


def is_unfinished(path: Path) -> bool:
    """Whether a file or folder is one of the program's that is not complete yet."""
    return any(part.endswith((".part", ".new", ".old")) and part.startswith(".") for part in path.parts)
