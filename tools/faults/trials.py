"""What all campaigns share: a journal with a line for each trial, so that the same command goes on where it stopped.

python -m tools.faults.trials DIR/mutate.jsonl      # a table of kinds and outcomes, then the faults
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

FAULT = "fault"


class Journal:
    """Trials that are done, a line of JSON each: its name or number, its kind, its outcome, what was told."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lines: list[dict[str, Any]] = []
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                self.lines.append(json.loads(line))
            except ValueError:  # a kill cut it
                break
        path.write_text("".join(f"{json.dumps(line)}\n" for line in self.lines))

    def has(self, trial: int | str) -> bool:
        """Whether a trial is done."""
        return any(line["trial"] == trial for line in self.lines)

    def add(self, trial: int | str, kind: str, outcome: str, told: str = "", **measured: Any) -> None:
        """One trial more; a fault is printed at once."""
        line = {"trial": trial, "kind": kind, "outcome": outcome, "told": told, **measured}
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(f"{json.dumps(line)}\n")
        if outcome == FAULT:
            print(f"{trial} {kind}: {told}", file=sys.stderr, flush=True)

    @property
    def faults(self) -> list[dict[str, Any]]:
        """The trials that ended in a fault."""
        return [line for line in self.lines if line["outcome"] == FAULT]

    def table(self) -> str:
        """How many trials of each kind had which outcome, as Markdown; a kind is told up to its comma."""
        counts: dict[str, Counter[str]] = {}
        for line in self.lines:
            counts.setdefault(line["kind"].partition(",")[0], Counter())[line["outcome"]] += 1
        outcomes = sorted({line["outcome"] for line in self.lines} - {FAULT})
        head = ["kind", "tried", *outcomes, "faults"]
        rows = [
            [kind, count.total(), *(count[outcome] for outcome in outcomes), count[FAULT]]
            for kind, count in counts.items()
        ]
        cells = [head, ["---"] * len(head), *rows]
        return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells)


def arguments(about: str | None, count: int, kinds: Collection[str] = ()) -> argparse.ArgumentParser:
    """The options of a campaign: --out, --seed, --count and, where there are kinds, --only."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the journal and what is found")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=count)
    if kinds:
        parser.add_argument("--only", nargs="+", choices=kinds, default=list(kinds))
    return parser


if __name__ == "__main__":
    for name in sys.argv[1:]:
        journal = Journal(Path(name))
        print(journal.table())
        for fault in journal.faults:
            print(f"{fault['trial']} {fault['kind']}: {fault['told']}")
