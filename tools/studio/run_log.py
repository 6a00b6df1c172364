"""The log of a training script, which the card sums up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def log_tick(folder: Path, values: Mapping[str, float]) -> None:
    """Add a line to the run's log.jsonl, and print it rounded."""
    print(json.dumps({name: round(value, 4) for name, value in values.items()}), flush=True)
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(values) + "\n")
