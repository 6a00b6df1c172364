"""The table that a pair's default prior and psi are chosen by."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks.studio_defaults import prior_rows
from benchmarks.studio_rows import Person
from refacer.options import ProjectOptions
from tests.tools.fakes import Brightness, PhotoIfBright
from tools.studio.transfer import Projected

SIDE = 32


@pytest.fixture
def person() -> Person:
    labels = torch.ones(1, SIDE, SIDE, dtype=torch.uint8)
    dark, bright = torch.full((1, 3, SIDE, SIDE), -0.5), torch.full((1, 3, SIDE, SIDE), 0.5)
    return Person("a", dark, bright, labels)


def test_a_row_for_each_psi_tells_identity_and_look(person):
    grey_by_psi = {1.0: 0.3, 0.5: -0.1}
    transfer = SimpleNamespace(
        whole_perceptual=Brightness(),
        project=lambda name, face, into: Projected(torch.ones(1, 8, 4), 0.25, 3.0),
        decode=lambda codes, psi: torch.full((1, 3, SIDE, SIDE), grey_by_psi[psi]),
        options=ProjectOptions(prior_weight=0.003),
    )
    rows = list(prior_rows(transfer, [person, person], [1.0, 0.5], Brightness(), PhotoIfBright()))  # type: ignore[arg-type]
    assert rows == [
        ("0.003", "1", "0.250", "0.800", "0.200", "2 of 2"),
        ("0.003", "0.5", "0.250", "0.400", "0.600", "0 of 2"),
    ]
