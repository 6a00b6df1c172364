"""Disks that fill, folders that close, clocks that jump, two processes at once: nothing is half-written, nothing hangs.

    python -m tools.faults.disk --count 150 --out DIR [--seed 0] [--only run dataset]

Each trial runs a job (jobs.py) under one of these conditions, at a size or moment drawn by the seed, then lifts it and
runs the same command again, which must end as if nothing had been. Needs root on Linux, for `mount` and `chattr`. The
journal is DIR/disk.jsonl.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tools.faults.jobs import JOBS, Job, Running, contents, is_unfinished, start
from tools.faults.kills import SECONDS, Known, Trials
from tools.faults.trials import FAULT, Journal, arguments

STAGES = Job(
    "run {place}/looks -o {out}/ --pair {place}/pair --steps 1 --way project --keep-stages {out}/stages"
    " --report {out}/report.html",
    "--strength 0.3 --force",
)
WRITERS = {**JOBS, "run, all stages": STAGES}

NOT_WRITABLE, SOME_FAILED, LOCKED = 7, 1, 7
YEAR_S = 365 * 86400


class Conditions(Trials):
    """What a job is put under; each gives what is wrong, empty where nothing is."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder)
        self.draw = draw
        self.sizes: dict[str, int] = {}  # of the largest file that a job makes, and of all
        self.totals: dict[str, int] = {}

    def _started(self, job: Job, before: Callable[[], object] | None = None) -> Running:
        return start(job.command(self.place, self.out), self.home, self.said, before=before)

    def file_limit(self, name: str, job: Job, known: Known) -> str:
        """No file may grow beyond a size: what a write meets on a full disk or beyond a quota."""
        limit = int(self.sizes[name] ** self.draw.random())
        ends = os.pipe()  # what is said is no file: the limit would hold for it
        before = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
        running = start(job.command(self.place, self.out), self.home, self.said, pipe=ends, before=before)
        os.close(ends[1])
        code = running.finish(SECONDS)
        with os.fdopen(ends[0], errors="replace") as told:
            self.said.write_text(told.read())
        return self._refused(name, known, code, f"at {limit} bytes")

    def small_disk(self, name: str, job: Job, known: Known) -> str:
        """The folder of the results is a disk of its own that is too small."""
        size = 4096 * (1 + int((self.totals[name] / 4096 + 20) * self.draw.random()))
        with mounted(self.results(name), size) as enlarge:
            code = self._started(job).finish(SECONDS)
            if problem := self._refused(name, known, code, f"on a disk of {size} bytes"):
                return problem
            enlarge()
            return self.again(name, job, known)

    def closed_folder(self, name: str, job: Job, known: Known) -> str:
        """In the middle of the work the folder takes no files any more."""
        running = self._started(job)
        running.wait(self.draw.random() * known.seconds)
        folder = self.results(name)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["chattr", "-R", "+i", folder], check=True, stderr=subprocess.DEVNULL)
        try:
            code = running.finish(SECONDS)
        finally:
            subprocess.run(["chattr", "-R", "-i", folder], check=True, stderr=subprocess.DEVNULL)
        return self._refused(name, known, code, "in a folder that was closed", parts=True)

    def clock(self, name: str, job: Job, known: Known) -> str:
        """The clock jumps by years, forth and back, at every question."""
        seed, real = self.draw.random(), time.time

        def jump() -> None:
            jumps = random.Random(seed)
            time.time = lambda: real() + jumps.uniform(-20, 20) * YEAR_S

        running = self._started(job, jump)
        code = running.finish(SECONDS)
        if code != 0:
            return f"ended with {code}: {running.told[-300:]}"
        return self.differs(name, known)

    def two_at_once(self, name: str, job: Job, known: Known) -> str:
        """The same command twice, the second a moment later."""
        first = self._started(job)
        first.wait(self.draw.random() ** 2 * known.seconds)
        second = start(job.command(self.place, self.out), self.home, self.said.with_name("said-2"))
        codes = first.finish(SECONDS), second.finish(SECONDS)
        told = first.told + second.told
        if 0 not in codes or set(codes) - {0, LOCKED} or "Traceback" in told:
            return f"ended with {codes}: {told[-400:]}"
        return self.differs(name, known)

    # ------------------------------------------------------------ what holds under each

    def _refused(self, name: str, known: Known, code: int | None, where: str, *, parts: bool = False) -> str:
        """What is wrong where a job could not write all."""
        told = self.said.read_text(errors="replace") if self.said.is_file() else ""
        if code not in (0, NOT_WRITABLE, SOME_FAILED):
            return f"{where} ended with {code}: {told[-400:]}"
        if "Traceback" in told:
            return f"{where} told {told[-400:]}"
        if odd := self._odd(name, known):
            return f"{where}: {odd}"
        unfinished = [path.name for path in self.results(name).rglob("*") if is_unfinished(path)]
        return f"{where} left {unfinished}" if unfinished and not parts else ""

    def differs(self, name: str, known: Known) -> str:
        """What a job made that it does not make when nothing disturbs it."""
        found = contents(self.results(name))
        wrong = sorted(file for file in known.new.keys() | found.keys() if known.new.get(file) != found.get(file))
        return f"made others: {wrong}" if wrong else ""

    def again(self, name: str, job: Job, known: Known) -> str:
        """What is wrong when the same command runs again, without the condition."""
        code, told = self.finish(job)
        return self.differs(name, known) if code == 0 else f"the second call ended with {code}: {told[-400:]}"

    # ------------------------------------------------------------ trials

    def wrong_under(self, condition: str, name: str) -> str:
        """One trial."""
        job = WRITERS[name]
        if name not in self.known:
            self.learn(name, job)
            files = [path.stat().st_size for path in self.results(name).rglob("*") if path.is_file()]
            self.sizes[name], self.totals[name] = max(files), sum(files)
        known = self.known[name]
        self.clear()
        wrong = CONDITIONS[condition](self, name, job, known)
        if wrong or condition == "a small disk":
            return wrong
        return self.again(name, job, known)


CONDITIONS: dict[str, Callable[[Conditions, str, Job, Known], str]] = {
    "a limit of file sizes": Conditions.file_limit,
    "a small disk": Conditions.small_disk,
    "a folder that closes": Conditions.closed_folder,
    "a clock that jumps": Conditions.clock,
    "two processes": Conditions.two_at_once,
}


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Callable[[], object]]:
    """A disk of `size` bytes at a folder; gives a function that makes it large."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def main() -> None:
    """The campaign: conditions and writers in turn."""
    chosen = arguments(__doc__, 150, WRITERS).parse_args()
    torch.set_num_threads(1)
    journal = Journal(chosen.out / "disk.jsonl")
    trials = Conditions(chosen.out / "disk", random.Random())
    for number in range(chosen.count):
        turn, which = divmod(number, len(WRITERS))
        name, condition = list(WRITERS)[which], list(CONDITIONS)[turn % len(CONDITIONS)]
        if name in chosen.only and not journal.has(number):
            trials.draw = random.Random(f"{chosen.seed} {number}")
            wrong = trials.wrong_under(condition, name)
            journal.add(number, condition, FAULT if wrong else "well", f"{name}: {wrong}" if wrong else name)
    print(journal.table())


if __name__ == "__main__":
    main()
