"""How hard each loss pulls at a picture: measuring between two iterations, which leaves no trace."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from refacer.training import losses
from refacer.training.generate import Drawing


def gradient_norms(drawing: Drawing, count: int) -> dict[str, float]:
    """Norm of each loss's gradient at the picture: adversarial, and lambda times sketch and colour."""
    o, nets, norms = drawing.options, drawing.nets, dict[str, float]()
    with torch.no_grad():
        ws = drawing.styles(count)
        image = drawing.pictures(ws)
    norms["adversarial"] = _gradient_norm(image, lambda x: losses.generator_loss(drawing.judged(x)))
    if nets.real is None:
        return norms
    with torch.no_grad():
        real, rendering = drawing.portraits(ws)
    if (sketch := nets.sketch) is not None:
        norms["sketch"] = o.sketch_weight * _gradient_norm(
            rendering, lambda x: losses.sketch_loss(real, x, sketch, o, drawing.dtype)
        )
    if (perceptual := nets.perceptual) is not None:
        norms["color"] = o.color_weight * _gradient_norm(
            rendering, lambda x: losses.color_loss(real, x, perceptual, o, drawing.dtype)
        )
    return norms


def _gradient_norm(image: Tensor, loss: Callable[[Tensor], Tensor]) -> float:
    """Mean over the batch of the norm of d loss / d image."""
    x = image.detach().float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x).sum(), x)
    return float(gradient.flatten(1).norm(dim=1).mean())
