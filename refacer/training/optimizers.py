"""Adam under lazy regularisation, Ranger, gradient cleaning, and the moving average of the generator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from refacer.options import FinetuneOptions

GRADIENT_LIMIT = 1e5


def lazy_adam(parameters: list[nn.Parameter], options: FinetuneOptions, interval: int | None) -> torch.optim.Adam:
    """Adam shared by the main loss and one regulariser every `interval` (Karras et al. 2020, appendix B).

    One step in `interval` + 1 is the regulariser's, so the rate and the decays shrink by k / (k + 1).
    """
    ratio = interval / (interval + 1) if interval else 1.0
    betas = tuple(beta**ratio for beta in options.adam_betas)
    return torch.optim.Adam(
        parameters, lr=options.lr * ratio, betas=(betas[0], betas[1]), eps=options.adam_eps, fused=True
    )


def clean_gradients(parameters: list[nn.Parameter]) -> None:
    """nan becomes 0 and infinities +-1e5, as in the published loop."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=GRADIENT_LIMIT, neginf=-GRADIENT_LIMIT, out=parameter.grad)


@torch.no_grad()
def lerp_towards(average: nn.Module, module: nn.Module, beta: float) -> None:
    """average <- beta average + (1 - beta) module for parameters; buffers are copied."""
    many = torch.ops.aten  # a few launches for all tensors
    many._foreach_lerp_([*average.parameters()], [*module.parameters()], 1 - beta)
    many._foreach_copy_([*average.buffers()], [*module.buffers()])


class Ranger:
    """The optimiser of the published encoders: RAdam on centralised gradients, and every few steps half the way back.

    Liu et al. 2020 (arXiv:1908.03265), Yong et al. 2020 (arXiv:2004.01461), Zhang et al. 2019 (arXiv:1907.08610).
    """

    BETAS, EPS = (0.95, 0.999), 1e-5
    LOOKAHEAD, SHARE = 6, 0.5  # steps; how far the slow weights follow

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self.parameters = list(parameters)
        self.fast = torch.optim.RAdam(self.parameters, lr=lr, betas=self.BETAS, eps=self.EPS)
        self.slow = [parameter.detach().clone() for parameter in self.parameters]
        self.steps = 0

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Where the learning rate is set."""
        return self.fast.param_groups

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        for parameter in self.parameters:
            if parameter.grad is not None and parameter.ndim > 1:
                parameter.grad -= parameter.grad.mean(tuple(range(1, parameter.ndim)), keepdim=True)
        self.fast.step()
        self.steps += 1
        if self.steps % self.LOOKAHEAD == 0:
            torch.ops.aten._foreach_lerp_(self.slow, self.parameters, self.SHARE)
            torch.ops.aten._foreach_copy_(self.parameters, self.slow)

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.fast.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {"fast": self.fast.state_dict(), "slow": list(self.slow), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.fast.load_state_dict(state["fast"])
        for kept, given in zip(self.slow, state["slow"], strict=True):
            kept.copy_(given)
        self.steps = state["steps"]
