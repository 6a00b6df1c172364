"""Damaged files through the installed command: the right exit code, a line for people, nothing left behind.

    python -m tools.faults.installed --count 500 --out DIR [--seed 0]

Pictures go to `refacer align`, codes to `refacer decode`. What is wrong is printed; the counts go to
DIR/installed.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tools.faults.mutate import mutated
from tools.faults.specimens import Specimen, specimens

CODES = (".npy", ".npz", ".pt")
PICTURES = (".png", ".jpg", ".webp", ".tif", ".avif", ".bmp", ".tga")
RIGHT = {"align": (0, 3, 5), "decode": (0, 4, 5)}
"""Exit codes that a damaged file may end in; a picture that survives may hold no face."""

SECONDS = 300


def wrong_with(specimen: Specimen, data: bytes, folder: Path) -> tuple[int, str]:
    """The exit code, and what is wrong with how the command ended; empty where nothing is."""
    command = "decode" if specimen.suffix in CODES else "align"
    path, out = folder / f"damaged{specimen.suffix}", folder / "out.png"
    path.write_bytes(data)
    out.unlink(missing_ok=True)
    program = Path(sys.executable).parent / "refacer"
    command_line = [program, command, path, "-o", out]
    pipes: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(command_line, timeout=SECONDS, **pipes)
    except subprocess.TimeoutExpired:
        return -1, f"no end within {SECONDS} s"
    said = done.stderr.splitlines()
    errors = [line for line in said if line.startswith("refacer: error: ")]
    left = sorted(entry.name for entry in folder.iterdir() if entry not in (path, out))
    if done.returncode not in RIGHT[command]:
        return done.returncode, f"exit code {done.returncode}: {done.stderr[-300:]}"
    if len(errors) != (done.returncode != 0) or any(not line.startswith("refacer: ") for line in said):
        return done.returncode, f"said {done.stderr[-300:]!r}"
    if left or out.exists() != (done.returncode == 0):
        return done.returncode, f"left {left}, result {out.exists()}"
    return done.returncode, ""


def main() -> None:
    """Every so-manieth of the campaign's files of pictures and codes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    kinds = specimens()
    taken = [i for i, kind in enumerate(kinds) if kind.suffix in (*CODES, *PICTURES)]
    folder = chosen.out / "files"
    folder.mkdir(parents=True, exist_ok=True)
    codes: Counter[int] = Counter()
    faults: list[dict[str, object]] = []
    for step in range(chosen.count):
        index = taken[step % len(taken)]
        number = index + len(kinds) * (step // len(taken))
        code, wrong = wrong_with(kinds[index], mutated(kinds[index], kinds, chosen.seed, number), folder)
        codes[code] += 1
        if wrong:
            faults.append({"number": number, "kind": kinds[index].kind, "told": wrong})
            print(f"{number} {kinds[index].kind}: {wrong}", file=sys.stderr, flush=True)
        found = {"seed": chosen.seed, "tried": step + 1, "exit_codes": codes, "faults": faults}
        (chosen.out / "installed.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
