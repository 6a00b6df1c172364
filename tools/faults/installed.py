"""Damaged files through the installed command: the right exit code, a line for people, nothing left behind.

    python -m tools.faults.installed --count 500 --out DIR [--seed 0]

Pictures go to `refacer align`, codes to `refacer decode`, votes to `refacer study analyse`, weights to
`refacer weights import`; the journal is DIR/installed.jsonl.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.faults.mutate import mutated
from tools.faults.pictures import Specimen
from tools.faults.specimens import specimens
from tools.faults.trials import FAULT, Journal, arguments

CODES = (".npy", ".npz", ".pt")
PICTURES = (".png", ".jpg", ".webp", ".tif", ".avif", ".bmp", ".tga")
RIGHT = {"align": (0, 3, 5), "decode": (0, 4, 5), "weights": (0, 5), "study": (0, 2, 4, 5)}
"""Exit codes that a damaged file may end in; a picture that survives may hold no face, votes may be another study's."""

SECONDS = 300


def command_of(specimen: Specimen) -> str | None:
    """What reads such a file from a user; None for what only commands themselves write and read."""
    if specimen.kind.startswith("weights"):
        return "weights"
    if specimen.kind == "votes":
        return "study"
    if specimen.suffix in PICTURES:
        return "align"
    return "decode" if specimen.suffix in CODES else None


def wrong_with(command: str, specimen: Specimen, data: bytes, folder: Path) -> tuple[int, str]:
    """The exit code, and what is wrong with how the command ended; empty where nothing is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path, home = folder / f"damaged{specimen.suffix}", folder / "home"
    path.write_bytes(data)
    out = {"align": folder / "out.png", "weights": home / "weights/thing"}.get(command, folder / "result")
    words = {"weights": ["import", path, "--as", "thing"], "study": ["analyse", path, "-o", out]}
    ends = "/" if command == "decode" else ""  # a file may hold several codes
    line = [Path(sys.executable).parent / "refacer", command, *words.get(command, [path, "-o", f"{out}{ends}"])]
    pipes: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(line, timeout=SECONDS, env={**os.environ, "REFACER_HOME": str(home)}, **pipes)
    except subprocess.TimeoutExpired:
        return -1, f"no end within {SECONDS} s"
    said = done.stderr.splitlines()
    errors = [line for line in said if line.startswith("refacer: error: ")]
    if done.returncode not in RIGHT[command]:
        return done.returncode, f"exit code {done.returncode}: {done.stderr[-300:]}"
    if len(errors) != (done.returncode != 0) or (done.returncode and said[-1:] != errors):
        return done.returncode, f"said {done.stderr[-300:]!r}"
    left = sorted(entry.name for entry in folder.iterdir() if entry not in (path, out, home))
    left += sorted(entry.name for entry in folder.rglob("*") if entry.suffix == ".part" or entry.name.endswith(".new"))
    made = any(out.iterdir()) if out.is_dir() else out.is_file()
    if left or made != (done.returncode == 0):
        return done.returncode, f"left {left}, result {made}"
    return done.returncode, ""


def main() -> None:
    """Every so-manieth of the campaign's files that a user hands to a command."""
    chosen = arguments(__doc__, 500).parse_args()
    kinds = specimens()
    taken = [(index, command) for index, kind in enumerate(kinds) if (command := command_of(kind))]
    journal = Journal(chosen.out / "installed.jsonl")
    for step in range(chosen.count):
        index, command = taken[step % len(taken)]
        number = index + len(kinds) * (step // len(taken))
        if journal.has(number):
            continue
        data = mutated(kinds[index], kinds, chosen.seed, number)
        code, wrong = wrong_with(command, kinds[index], data, chosen.out / "installed")
        journal.add(number, kinds[index].kind, FAULT if wrong else f"exit {code}", wrong)
        if wrong:
            (chosen.out / f"installed-{chosen.seed}-{number}{kinds[index].suffix}").write_bytes(data)
    print(journal.table())


if __name__ == "__main__":
    main()
