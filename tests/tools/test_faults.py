"""A short piece of the campaign of damaged files, the same every time."""

import warnings

import pytest

from tools.faults.mutate import CHANGES, fault_of, mutated
from tools.faults.specimens import specimens

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


def test_a_fault_is_told(tmp_path):
    def fail(_path):
        raise ZeroDivisionError("by zero")

    specimen = KINDS[0].__class__("any", ".bin", b"x", fail)
    assert fault_of(specimen, tmp_path / "a") == ("fault", "ZeroDivisionError: by zero")
