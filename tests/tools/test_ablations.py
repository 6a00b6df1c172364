"""The ablations: what differs between the runs, and what is shown of them."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ablations
from benchmarks.strips import CELL_PX


@pytest.fixture
def called(monkeypatch) -> list[list[str]]:
    """The commands that would have been run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(ablations.subprocess, "run", lambda command, check: commands.append(command))
    return commands


def _args(processes: int) -> Namespace:
    return Namespace(data=Path("data"), base="runs/b", processes=processes, kimg="0.1", device="cpu")


def test_variants_differ_in_the_two_weights_alone(called):
    for weights in ablations.VARIANTS.values():
        ablations.finetune(_args(1), Path("run"), {**ablations.TRAINING, **ablations.WEIGHTS, **weights})
    parts = [dict(zip(command[5::2], command[6::2], strict=False)) for command in map(_flags, called)]
    off = [{name for name in ("--sketch-weight", "--color-weight") if part[name] == "0"} for part in parts]
    assert off == [set(), {"--sketch-weight"}, {"--color-weight"}, {"--sketch-weight", "--color-weight"}]
    others = [{k: v for k, v in part.items() if not k.endswith("-weight")} for part in parts]
    assert all(other == others[0] for other in others)


def _flags(command: list[str]) -> list[str]:
    """From `-m refacer finetune cg.zip --base ...` on, so that options and values alternate."""
    return command[command.index("refacer") - 2 :]


def test_several_processes_are_torchruns(called):
    ablations.finetune(_args(2), Path("run"), {})
    assert called[0][1:5] == ["-m", "torch.distributed.run", "--nproc-per-node", "2"]


def test_the_table_has_every_row_and_a_dash_for_what_is_not_measured():
    rows = {"both losses": dict.fromkeys(ablations.COLUMNS, 0.5), ablations.DIRECT: {"photo": 0.05}}
    lines = ablations.table(rows).splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("| 0.5000 | 50% |")
    assert lines[3].split("|")[2:4] == [" – ", " – "]


def test_the_sheet_shows_codes_and_people_of_every_variant():
    strip = [torch.zeros(1, 3, 8, 8)] * 2
    kinds: dict[str, Any] = dict.fromkeys(("codes, realistic", "codes", "input", "direct", "people"), strip)
    one, two = ablations.sheet({"a": kinds}), ablations.sheet({"a": kinds, "b": kinds})
    line = (one.shape[0] - one.shape[0] % CELL_PX) // CELL_PX
    assert line == 5
    assert two.shape[0] - one.shape[0] == pytest.approx(2 / 5 * one.shape[0], rel=0.02)
