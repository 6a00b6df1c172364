"""What is measured during training: means over a tick, and each loss's gradient at the picture.

Means are summed on the device, so that the inner loop never waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from refacer.training.generate import ForwardPasses
from refacer.training.rules import Rule

TensorMap = Callable[[Tensor], Tensor]


def _alone(values: Tensor) -> Tensor:
    return values


class Statistics:
    """Named running means; `take` reads and resets them.

    With several processes `total` sums a tensor over them; every process then has to call.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add values of any shape to a name."""
        total = values.detach().float().sum()
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + values.numel()

    def take(self, total: TensorMap = _alone) -> dict[str, float]:
        """The means since the last call; this waits for the device."""
        state = self.state_dict(total)
        self._sums, self._counts = {}, {}
        return {name: float(state["sums"][name]) / count for name, count in state["counts"].items()}

    def state_dict(self, total: TensorMap = _alone) -> dict[str, Any]:
        """Sums and counts since the last `take`."""
        if not self._sums:
            return {"sums": {}, "counts": {}}
        counts = total(torch.tensor([*self._counts.values()]))
        sums = total(torch.stack([*self._sums.values()])).unbind()
        return {
            "sums": dict(zip(self._sums, sums, strict=True)),
            "counts": dict(zip(self._counts, counts.tolist(), strict=True)),
        }

    def load_state_dict(self, state: dict[str, Any], *, share: int = 1) -> None:
        """Go on from `state_dict`; with a share of 0 from nothing, but under the same names in the same order."""
        self._sums = {name: value.to(self.device) * share for name, value in state["sums"].items()}
        self._counts = {name: count * share for name, count in state["counts"].items()}


def gradient_norms(passes: ForwardPasses, rule: Rule, count: int) -> dict[str, float]:
    """Mean norm of each loss's gradient at `count` pictures: adversarial, and the rule's own times their weights."""
    nets, norms = passes.nets, dict[str, float]()
    with torch.no_grad():
        ws = passes.sample_ws(count)
        image = passes.generate(ws) if rule.adversarial else None
    if image is not None:
        norms["adversarial"] = _gradient_norm(image, lambda x: rule.generator_loss(passes.discriminate(x)))
    if nets.real is None:
        return norms
    with torch.no_grad():
        real, rendering = passes.generate_pair(ws, rule.noise)
    for name, term in rule.terms(nets, passes.options, passes.dtype).items():
        loss = term.loss
        norms[name] = term.weight * _gradient_norm(rendering, lambda x, loss=loss: loss(real, x))
    return norms


def _gradient_norm(image: Tensor, loss: Callable[[Tensor], Tensor]) -> float:
    """Mean over the batch of the norm of d loss / d image."""
    x = image.detach().float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x).sum(), x)
    return float(gradient.flatten(1).norm(dim=1).mean())
