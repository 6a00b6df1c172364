"""The statistics of codes are those of the published projectors, however many samples go at once."""

import numpy as np
import pytest
import torch

from refacer.networks.stylegan2 import w_statistics as module
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import WStatistics
from tests.tiny import tiny_generator


def test_w_statistics_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator(frozen=True)
    z = torch.from_numpy(np.random.RandomState(123).randn(50, 8).astype(np.float32))
    w = generator.mapping(z)[:, 0].double()
    w_avg = w.mean(0)
    found, spread = w_statistics(generator, WStatistics(samples=50))
    torch.testing.assert_close(found, w_avg.float())
    assert spread == pytest.approx(float(((w - w_avg) ** 2).sum() / 50) ** 0.5)
    monkeypatch.setattr(module, "MAPPING_BATCH", 7)
    again, spread_again = w_statistics(generator, WStatistics(samples=50))
    torch.testing.assert_close(again, found)
    assert spread_again == pytest.approx(spread)
