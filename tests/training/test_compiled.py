"""Training with --compile: the same steps, by as few graphs as there are uses."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from refacer.training.trainer import Trainer

# torch.compile asks every input for its gradient, also where there is none to be had.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")


def _stepped(trainer: Trainer, count: int) -> Trainer:
    for _ in range(count):
        trainer.step()
    return trainer


def test_compiled_steps_train_as_plain_ones_do(make_trainer):
    plain: Trainer = _stepped(make_trainer(aug_p=0.3), 2)
    with torch.compiler.set_stance("default", force_backend="aot_eager"):
        compiled: Trainer = _stepped(make_trainer(aug_p=0.3, compile=True), 2)
    for name in ("generator", "discriminator"):
        state = compiled.state_dict()[name]
        assert state.keys() == plain.state_dict()[name].keys()
        for key, value in plain.state_dict()[name].items():
            torch.testing.assert_close(state[key], value, rtol=0, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    assert compiled.statistics.take() == pytest.approx(plain.statistics.take(), rel=1e-4)


def test_every_use_of_a_network_is_one_graph_compiled_once(make_trainer):
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, _inputs: Sequence[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    with torch.compiler.set_stance("default", force_backend=count):
        trainer: Trainer = _stepped(make_trainer(compile=True), 1)
        trainer.gradient_norms()
        first = len(graphs)
        _stepped(trainer, 4)  # path length is due again
    # G_rendering: random noise with and without gradient, constant noise; G_real; D for either network's step
    assert first == 6
    assert len(graphs) == first
