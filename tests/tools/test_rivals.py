"""Table 1's benchmark: what is trained, what is measured, what stands beside it."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import rivals


@pytest.fixture
def called(monkeypatch) -> list[list[str]]:
    """The commands that would have been run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(rivals.subprocess, "run", lambda command, check: commands.append(command))
    return commands


def test_rules_are_trained_alike(called):
    args = Namespace(data=Path("data"), base="studio", kimg="0.1", precision="auto", device="cpu")
    for rule in rivals.RULES:
        rivals.finetune(args, Path("cg.zip"), Path(rule), {"rule": rule, **rivals.RULES[rule]})
    options = [dict(zip(command[5::2], command[6::2], strict=False)) for command in called]
    assert [each["--rule"] for each in options] == ["paper", "agile", "image-guided"]
    for name in ("--batch", "--kimg", "--base", "--jitter", "--aug"):
        assert len({each[name] for each in options}) == 1
    assert ["--sketch-weight" in each for each in options] == [True, False, False]


def test_columns_are_found_by_what_is_measured():
    names = ("fid_x", "kid_x", "fid_x", "kid_x", "identity_distance_dlib")
    measures: list[dict[str, Any]] = [{"name": name, "value": i} for i, name in enumerate(names)]
    found = rivals.columns_of(measures)
    assert found == {"fid_to_renders": 0, "fid_to_photos": 2, "kid_to_renders": 1, "kid_to_photos": 3, "identity": 4}


def test_a_row_is_measured_once_for_what_it_has_seen(called, monkeypatch, tmp_path):
    monkeypatch.setattr(rivals, "load_pair", lambda _: Namespace(facts={"kimg": 0.5}))
    args = Namespace(data=Path("data"), out=tmp_path, images=5, codes=2, device="cpu")
    values = [{"name": name, "value": 1.0} for name in ("fid", "fid", "kid", "kid", "identity")]
    (tmp_path / "eval-agile-0.5-5-2.json").write_text(json.dumps({"measures": values}))
    assert rivals.measured(args, "agile")["kimg"] == 0.5
    assert called == []


def test_the_paper_s_figures_stand_beside_ours():
    rows = {rule: dict.fromkeys(rivals.COLUMNS, 0.5) for rule in rivals.TITLES}
    lines = rivals.table(rows).splitlines()
    assert len(lines) == 2 + len(rivals.TITLES)
    assert len({line.count("|") for line in lines}) == 1
    guided = next(line for line in lines if "image-guided" in line)
    assert guided.endswith("| 49.9 (StyleGAN-NADA, by text) | 53.8 | 0.34 |")
