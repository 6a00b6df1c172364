"""Commands killed at random moments: every output is the old file, the new one or none, and the same command ends well.

    python -m tools.faults.kills --count 300 --out DIR [--seed 0] [--only run finetune]

Each trial starts a job (jobs.py) in an empty place or over older results, ends it by SIGKILL, SIGTERM, SIGINT or by
closing the pipe that reads it, at a moment drawn from how long the job takes, and runs the same command again to its
end. The journal is DIR/kills.jsonl.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from tools.faults.jobs import JOBS, Job, contents, is_unfinished, make_place, start
from tools.faults.trials import FAULT, Journal, arguments

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
PIPE = "closed pipe"
WAYS = (*SIGNALS, PIPE)
MAY_END = {"SIGKILL": (-9,), "SIGTERM": (143,), "SIGINT": (130,), PIPE: ()}
"""Exit codes beside 0, of a job that had come to its end before."""

GOES_ON = ("distill", "finetune")
"""What saves its state when it is asked to stop, and goes on from there."""

GROWING = ("measures.jsonl",)
"""What grows by a line at a time, so that `dataset` goes on."""

SECONDS = 3600.0  # a busy machine needs it


@dataclass
class Known:
    """What a job makes when nothing disturbs it: what was there before, and the result; files by name. And how long it
    takes."""

    old: dict[str, str]
    new: dict[str, str]
    seconds: float


class Trials:
    """The jobs in a folder of their own, and what is known of each."""

    def __init__(self, folder: Path) -> None:
        self.place, self.out, self.home = folder / "place", folder / "made", folder / "home"
        self.older = folder / "older"
        self.said = folder / "said"
        self.known: dict[str, Known] = {}
        if not (self.place / "base").is_dir():
            make_place(self.place)

    def results(self, name: str) -> Path:
        """Where a job writes."""
        return self.home if name == "weights import" else self.out

    def clear(self) -> None:
        """Nothing was made yet."""
        for folder in (self.out, self.home):
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self, job: Job, *, other: bool = False) -> tuple[int | None, str]:
        """Run a job to its end: the exit code and what it said."""
        running = start(job.command(self.place, self.out, other), self.home, self.said)
        return running.finish(SECONDS), running.told

    def learn(self, name: str, job: Job) -> Known:
        """Run it over older results and in an empty place; the second must make the same."""
        self.clear()
        self._expect(name, job, other=True)
        older = self.older / name
        shutil.rmtree(older, ignore_errors=True)
        shutil.copytree(self.results(name), older)
        old = contents(self.results(name))
        self.clear()
        since = time.monotonic()
        self._expect(name, job)
        self.known[name] = Known(old, contents(self.results(name)), time.monotonic() - since)
        return self.known[name]

    def _expect(self, name: str, job: Job, *, other: bool = False) -> None:
        code, told = self.finish(job, other=other)
        if code != 0:
            raise SystemExit(f"{name} does not work undisturbed: exit code {code}: {told[-500:]}")

    def kill(self, job: Job, way: str, moment: float) -> tuple[int | None, str]:
        """Start a job and end it at the moment, in seconds; the exit code and what it said."""
        ends = os.pipe() if way == PIPE else None
        running = start(job.command(self.place, self.out), self.home, self.said, pipe=ends)
        if ends:
            os.close(ends[1])
        code = running.wait(moment)
        if ends:
            os.close(ends[0])
        elif code is None:
            running.send(SIGNALS[way])
        return running.finish(SECONDS), "" if ends else running.told

    def wrong_with(self, name: str, way: str, moment: float, over_older: bool) -> tuple[str, int]:
        """What is wrong after a kill and after the second call, empty where nothing is; and the unfinished files."""
        job, known = JOBS[name], self.known.get(name) or self.learn(name, JOBS[name])
        self.clear()
        if over_older and name not in GOES_ON:
            shutil.copytree(self.older / name, self.results(name))
        code, told = self.kill(job, way, moment * known.seconds)
        if code not in (0, *MAY_END[way]) or "Traceback" in told:
            return f"ended with {code}: {told[-300:]}", 0
        if odd := self._odd(name, known):
            return f"after the kill: {odd}", 0
        unfinished = [path for path in self.results(name).rglob("*") if is_unfinished(path)]
        if unfinished and way != "SIGKILL":
            return f"left {[path.name for path in unfinished]}", len(unfinished)
        code, told = self.finish(job)
        found = contents(self.results(name))
        if code != 0:
            return f"the second call ended with {code}: {told[-300:]}", len(unfinished)
        wanted = {**known.old, **known.new} if over_older and name not in GOES_ON else known.new
        differ = sorted(file for file in wanted.keys() | found.keys() if wanted.get(file) != found.get(file))
        return (f"the second call made others: {differ}" if differ else ""), len(unfinished)

    def _odd(self, name: str, known: Known) -> str:
        """Files after a kill that are neither the old nor the new; of runs that go on only the result counts."""
        known_files = {**known.old, **known.new}
        for file, digest in contents(self.results(name)).items():
            if file in GROWING or (name in GOES_ON and not file.endswith(".safetensors") and file != "pair.json"):
                continue
            if digest not in (known.old.get(file), known.new.get(file)) and file in known_files:
                return f"{file} is neither the old nor the new"
        return ""


def main() -> None:
    """The campaign: trial after trial, the jobs and ways in turn, moments and places by the seed."""
    chosen = arguments(__doc__, 300, JOBS).parse_args()
    torch.set_num_threads(1)
    journal, trials = Journal(chosen.out / "kills.jsonl"), Trials(chosen.out / "kills")
    for number in range(chosen.count):
        name, way = list(JOBS)[number % len(JOBS)], WAYS[number // len(JOBS) % len(WAYS)]
        if name not in chosen.only or journal.has(number):
            continue
        draw = random.Random(f"{chosen.seed} {number}")
        moment, over_older = draw.random(), draw.random() < 0.5
        wrong, unfinished = trials.wrong_with(name, way, moment, over_older)
        told = {"moment": round(moment, 3), "over_older": over_older, "unfinished": unfinished}
        journal.add(number, f"{name}, {way}", FAULT if wrong else way, wrong, **told)
    print(journal.table())
    print(f"unfinished files left by SIGKILL: {Counter(line['unfinished'] for line in journal.lines)}")


if __name__ == "__main__":
    main()
