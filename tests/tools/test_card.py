"""The card: figures come from the scripts' files, and what has none says so."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from refacer.errors import UsageError
from tools.studio import card

SECTIONS = ("networks", "training", "parser", "judge", "table", "sheets")


def _nothing(**given: object) -> Namespace:
    none = dict.fromkeys(("pair", "run", "parser", "judge", "table", "sheets"))
    return Namespace(**{**none, "bases": [], "machine": "two cores", "card": card.CARD, **given})


def _written(path: Path, body: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))
    return path


def test_the_committed_card_has_every_section():
    text = card.CARD.read_text()
    for name in SECTIONS:
        assert card.with_section(text, name, "figures") != text


def test_only_sections_with_a_source_change():
    assert card.sections(_nothing()) == {}
    text = "<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\nold\n<!-- /b -->\n"
    once = card.with_section(text, "a", r"new \1")
    assert once == "<!-- a -->\nnew \\1\n<!-- /a -->\nbetween\n<!-- b -->\nold\n<!-- /b -->\n"
    assert card.with_section(once, "a", r"new \1") == once
    with pytest.raises(UsageError, match="no section c"):
        card.with_section(text, "c", "")


def test_networks_are_counted(pair):
    made = card.sections(_nothing(pair=pair))["networks"]
    assert "| real | " in made
    assert "`project` starts at the average code and takes 2 steps along the codes at a rate of 0.05" in made


def test_effort_is_summed_from_the_logs(tmp_path):
    ticks = [{"images_seen": 500, "images_per_s": 0.5}, {"images_seen": 1000, "images_per_s": 0.25}]
    base, run = tmp_path / "base64", tmp_path / "mine"
    base.mkdir()
    run.mkdir()
    (base / "log.jsonl").write_text("\n".join(map(json.dumps, ticks)))
    (run / "log.jsonl").write_text(json.dumps({"images_seen": 2000, "seconds_per_kimg": 3600}))
    _written(run / "config.json", {"machine": "a GPU", "options": {"batch": 8, "lr": 2e-3, "adam_betas": [0.0, 0.99]}})
    made = card.sections(_nothing(bases=[base], run=run))["training"]
    assert "| realistic, `base64` | 1.0 | 0.8 | two cores |" in made
    assert "| rendering, `mine` | 2.0 | 2.0 | a GPU |" in made
    assert made.endswith("with its defaults but: batch 8.")


def test_the_table_is_the_benchmarks(tmp_path):
    figures = {
        "identity_to_input": None, "identity_to_photo": 0.5, "perceptual_to_photo": 0.5, "l2_to_photo": 0.012345,
        "color_to_photo": 0.5, "photo": 0.925, "sharpness": 4.567, "sharpness_ratio": 0.891, "seconds": 3.26,
    }  # fmt: skip
    report = {
        "people": {"a": {}}, "steps": 9, "machine": "m", "rows": {"method": figures}, "codes": {"codes": 3, "psi": 1.0},
        "aims": {"x": {"value": 0.4321, "aim": "at most 0.45", "met": True}},
    }  # fmt: skip
    made = card.sections(_nothing(table=_written(tmp_path / "t.json", report)))["table"]
    assert "| method | – | 0.500 | 0.500 | 0.0123 | 0.5000 | 92% | 0.89 |" in made
    assert "Met: x 0.432 (at most 0.45)." in made
    assert "1 people, 9 steps, m." in made


def test_validations_are_listed(tmp_path):
    report = {
        "train_s": 5,
        "classes": ["skin", "nose"],
        "validation": {"accuracy": 0.975, "by_look": {"cg": 0.5}, "altered": {"grey": {"cg": 4}}},
    }
    made = card.sections(_nothing(judge=_written(tmp_path / "j.json", report)))["judge"]
    assert made.splitlines() == [
        "- train s: 5",
        "- classes: skin, nose",
        "- accuracy: 0.975",
        "- by look: cg 0.500",
        "- altered:",
        "  - grey: cg 4",
    ]


def test_every_sheet_is_linked(tmp_path):
    page = tmp_path / "docs" / "studio.md"
    for name in ("people-1", "people-2", "displays-1"):
        path = tmp_path / "docs" / "sheets" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    made = card.sections(_nothing(sheets=tmp_path / "docs" / "sheets", card=page))["sheets"]
    assert made.splitlines() == [f"- [{name}](sheets/{name}.jpg)" for name in ("displays-1", "people-1", "people-2")]
