"""Adam under lazy regularisation, gradient cleaning, and the moving average of the generator."""

from __future__ import annotations

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
