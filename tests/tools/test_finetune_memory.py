"""The memory benchmark counts what lives, once."""

import torch

from benchmarks.finetune_memory import Held, fitting

GB = 2**30


def test_tensors_count_while_they_live_and_views_do_not_count_again():
    with Held() as held:
        kept = torch.zeros(1000)
        view = kept.view(10, 100)
        assert held.now == 4000
        held.begin()
        other = view + 1
        del other
        assert (held.now, held.peak) == (4000, 8000)
    del kept
    assert held.now == 4000  # the view keeps it
    del view
    assert held.now == 0


def test_what_backward_needs_counts():
    x = torch.ones(1000, requires_grad=True)
    with Held() as held:
        y = (x.exp() * 2).sum()
        assert held.now == 4000 + 4  # exp for its own backward, the sum
        y.backward()
        assert held.peak >= 8000


def test_the_dearest_phase_decides_what_fits():
    peak = {"a": {"fixed": 2 * GB, "image": 1 * GB}, "b": {"fixed": 1 * GB, "image": 3 * GB}}
    assert fitting(peak, 10 * GB) == 2  # 8 to use: 6 images by a, 2 by b
    assert fitting(peak, 1 * GB) == 0
