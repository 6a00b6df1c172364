"""How long `refacer --help` takes, beside importing typer and rich alone: the median of several runs of each."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 9
LIMIT = 3.0
ALONE = ["-c", "import typer, rich"]
HELP = ["-m", "refacer", "--help"]


def seconds(arguments: list[str]) -> float:
    """The time of one Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Print both medians and their ratio; exit 1 where it is above the limit."""
    alone, help_text = (statistics.median(seconds(arguments) for _ in range(RUNS)) for arguments in (ALONE, HELP))
    ratio = help_text / alone
    print(f"typer and rich {alone * 1000:.0f} ms, --help {help_text * 1000:.0f} ms, {ratio:.2f} times (limit {LIMIT})")
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main()
