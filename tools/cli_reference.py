"""Write docs/cli.md from the program's own --help; a test fails where the two differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STUDY = ("make", "serve", "analyse")
WEIGHTS = ("list", "pull", "import", "verify", "where", "rm", "licence")
COMMANDS = (
    *("run", "align", "project", "decode", "translate", "parse", "composite"),
    *("finetune", "distill", "train-encoder", "dataset", "eval", "compare", "sdedit"),
    *("study", *(f"study {name}" for name in STUDY)),
    *("weights", *(f"weights {name}" for name in WEIGHTS)),
)
PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
PLAIN = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "TYPER_USE_RICH": "0"}


def help_of(*command: str) -> str:
    """What `refacer COMMAND --help` prints, on a terminal 100 columns wide."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("REFACER_", "FORCE_", "GITHUB_"))} | PLAIN
    shown = subprocess.run(
        [sys.executable, "-m", "refacer", *command, "--help"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    text = shown.stdout.strip().replace("python -m refacer", "refacer")
    return "\n".join(line.rstrip() for line in text.splitlines())


def page() -> str:
    """The whole reference."""
    parts = ["# Command line", "", "Made by `python tools/cli_reference.py` from `--help`.", ""]
    for command in ((), *(tuple(name.split()) for name in COMMANDS)):
        parts += [f"## refacer {' '.join(command)}".rstrip(), "", "```", help_of(*command), "```", ""]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
