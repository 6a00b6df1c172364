"""Table 2's benchmark: what is trained, what is measured, what stands beside it."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import datasets, rivals
from benchmarks.studio_rows import Person


@pytest.fixture
def people() -> list[Person]:
    """Two people whose photographs are darker than their renders."""
    face, labels = torch.full((1, 3, 64, 64), 0.5), torch.ones(1, 64, 64, dtype=torch.uint8)
    return [Person(name, face, face - 0.5, labels) for name in ("a", "b")]


class _Identity:
    """Descriptions are the pictures' means."""

    def landmarks(self, picture):
        return None

    def describe(self, picture, points, known):
        return picture.mean((2, 3))[0].numpy()


def test_both_sets_are_trained_on_alike(monkeypatch):
    commands: list[list[str]] = []
    monkeypatch.setattr(rivals.subprocess, "run", lambda command, check: commands.append(command))
    args = Namespace(base="studio", kimg="0.1", precision="auto", device="cpu")
    for name in ("many", "few"):
        datasets.finetune(args, Path(f"{name}.zip"), Path(name), datasets.RULES["paper"])
    assert [command[4] for command in commands] == ["many.zip", "few.zip"]
    assert commands[0][5:7] == commands[1][5:7] == ["--base", "studio"]
    assert commands[0][9:] == commands[1][9:]


def test_what_is_kept_is_measured_against_the_input_and_who_it_is_against_both(people):
    network = SimpleNamespace(features=lambda images: images.flatten(1) / images[0].numel() ** 0.5)
    transfer = SimpleNamespace(whole_perceptual=network)
    found = datasets.figures(people, [people[0].face - 0.2, people[0].face], _Identity(), transfer)  # type: ignore[arg-type]
    assert found["l2"] == pytest.approx(0.02)
    assert found["perceptual"] == pytest.approx(0.02)
    assert found["identity_to_input"] < found["identity_to_photo"]


def test_the_paper_s_figures_stand_beside_ours():
    lines = datasets.table({name: dict.fromkeys(datasets.COLUMNS, 0.5) for name in datasets.TITLES}).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].endswith("| 0.135 | 0.048 |")
    assert lines[3].endswith("| 0.176 | 0.062 |")


def test_the_sheet_has_input_results_and_photograph(people):
    drawn = [person.face for person in people]
    one, two = (datasets.sheet(people, dict.fromkeys(names, drawn)) for names in (("many",), ("many", "few")))
    assert two.shape[0] / one.shape[0] == pytest.approx(4 / 3, rel=0.02)
