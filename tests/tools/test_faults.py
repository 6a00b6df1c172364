"""A short piece of the campaign of damaged files, the same every time."""

import json
import warnings

import pytest

from tools.faults.installed import command_of
from tools.faults.load import SIZES, sizes
from tools.faults.mutate import CHANGES, chosen_kinds, fault_of, mutated
from tools.faults.specimens import specimens
from tools.faults.trials import FAULT, Journal

KINDS = specimens()


@pytest.mark.parametrize("specimen", KINDS, ids=[kind.kind for kind in KINDS])
def test_damaged_files_are_read_or_refused(tmp_path, specimen):
    path = tmp_path / f"damaged{specimen.suffix}"
    path.write_bytes(specimen.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fault_of(specimen, path) == ("read", "")
        for number in range(8):
            path.write_bytes(mutated(specimen, KINDS, 1, number))
            assert fault_of(specimen, path)[0] != "fault", number


def test_damage_follows_from_seed_and_number():
    first, again = (mutated(KINDS[0], KINDS, 3, 5) for _ in range(2))
    assert first == again != KINDS[0].data
    assert len({mutated(KINDS[0], KINDS, 3, number) for number in range(20)}) > 15
    assert CHANGES


def test_whole_files_are_the_same_at_every_call():
    changed = [one.kind for one, again in zip(KINDS, specimens(), strict=True) if one.data != again.data]
    assert changed == ["PyTorch, old", "weights, rosinality, old"]


def test_a_kind_is_chosen_up_to_its_comma():
    assert {one.kind for one in chosen_kinds(["zip", "PyTorch"])} == {"zip", "PyTorch", "PyTorch, old"}
    assert len(chosen_kinds([])) == len(KINDS)


def test_a_fault_is_told(tmp_path):
    def fail(_path):
        raise ZeroDivisionError("by zero")

    specimen = KINDS[0].__class__("any", ".bin", b"x", fail)
    assert fault_of(specimen, tmp_path / "a") == ("fault", "ZeroDivisionError: by zero")


def test_a_text_of_json_is_damaged_as_json():
    """Most of its damaged versions are still JSON, with another value in one place."""
    specimen = next(kind for kind in KINDS if kind.kind == "pair.json")
    versions = [mutated(specimen, KINDS, 0, number) for number in range(40)]
    parsed = 0
    for data in versions:
        try:
            json.loads(data)
            parsed += 1
        except (ValueError, RecursionError):
            continue
    assert 5 < parsed < 40


def test_a_journal_goes_on_where_it_was_cut(tmp_path, capsys):
    journal = Journal(tmp_path / "out/trials.jsonl")
    journal.add(0, "PNG, grey", "read")
    journal.add(1, "PNG", FAULT, "took 11.0 s", size=7)
    assert "1 PNG: took 11.0 s" in capsys.readouterr().err
    with journal.path.open("a") as file:
        file.write('{"trial": 2, "ki')
    again = Journal(journal.path)
    assert [line["trial"] for line in again.lines] == [0, 1]
    assert (again.has(1), again.has(2), len(again.faults)) == (True, False, 1)
    again.add(2, "JPEG", "refused")
    assert Journal(journal.path).table().splitlines() == [
        "| kind | tried | read | refused | faults |",
        "| --- | --- | --- | --- | --- |",
        "| PNG | 2 | 1 | 0 | 1 |",
        "| JPEG | 1 | 0 | 1 | 0 |",
    ]


def test_every_command_that_takes_files_of_others_has_some():
    assert {command_of(kind) for kind in KINDS} == {"align", "decode", "weights", "study", None}


def test_small_loads_come_first():
    order = list(sizes(["pictures", "figures"], 1000))
    assert order[:2] == [("pictures", SIZES["pictures"][0]), ("figures", SIZES["figures"][0])]
    assert ("pictures", 2500) not in order
