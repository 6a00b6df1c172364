"""The table that a pair's default prior and psi are chosen by."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import studio_defaults
from benchmarks.studio_rows import Person
from refacer.options import ProjectOptions
from tools.studio.judge import Judge
from tools.studio.transfer import Projected

SIDE = 32


class Brightness:
    """A face is its mean brightness."""

    def landmarks(self, face: torch.Tensor) -> None:
        return None

    def describe(self, face: torch.Tensor, own: object, instead: object = ()) -> np.ndarray:
        return np.array([float(face.mean())])


class PhotoIfBright(Judge):
    """Calls a face a photograph where it is brighter than mid grey."""

    def forward(self, faces: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return (faces * masks).sum((1, 2, 3))


@pytest.fixture
def person() -> Person:
    labels = torch.ones(1, SIDE, SIDE, dtype=torch.uint8)
    dark, bright = torch.full((1, 3, SIDE, SIDE), -0.5), torch.full((1, 3, SIDE, SIDE), 0.5)
    return Person("a", dark, bright, labels)


def test_a_row_for_each_psi_tells_identity_and_look(monkeypatch, person):
    found = Projected(torch.ones(1, 8, 4), 0.25, 3.0)
    transfer = SimpleNamespace(
        project=lambda name, face, into: found, real=None, options=ProjectOptions(prior_weight=0.003)
    )
    grey_by_psi = {1.0: 0.3, 0.5: -0.1}
    monkeypatch.setattr(
        studio_defaults,
        "decoded",
        lambda codes, network, options: torch.full((1, 3, SIDE, SIDE), grey_by_psi[options.truncation_psi]),
    )
    rows = list(
        studio_defaults.prior_rows(transfer, [person, person], [1.0, 0.5], Brightness(), PhotoIfBright())  # type: ignore[arg-type]
    )
    assert rows == [
        ("0.003", "1", "0.250", "0.800", "0.200", "2 of 2"),
        ("0.003", "0.5", "0.250", "0.400", "0.600", "0 of 2"),
    ]
