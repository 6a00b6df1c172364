"""What rules of fine-tuning have in common: a frozen source, a trainable copy, the same codes.

A rule says which codes are drawn, what is frozen, whether a discriminator judges and how, and which losses compare both
generators. `PAPER` is the paper's (Sec. 3.2 and 4.1), and what a base from scratch is trained by; the others are in
refacer/finetuning/rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from refacer.networks.stylegan2.networks import Discriminator
from refacer.options import FinetuneOptions, NoiseMode
from refacer.training import losses
from refacer.training.generate import FROZEN, TrainingNetworks

JUDGE = "b4."
"""The discriminator's last block, with its head."""


@dataclass(frozen=True)
class Term:
    """A loss between the pictures of both generators, source first: (N, 3, R, R) each to (N,)."""

    weight: float
    loss: Callable[[Tensor, Tensor], Tensor]


Terms = Callable[[TrainingNetworks, FinetuneOptions, torch.dtype], Mapping[str, Term]]


def paper_terms(nets: TrainingNetworks, o: FinetuneOptions, dtype: torch.dtype) -> dict[str, Term]:
    """Eq. 1 and Eq. 2 with their weights of Eq. 3; dtype: of the networks' layers."""
    terms: dict[str, Term] = {}
    sketch, perceptual = nets.sketch, nets.perceptual
    if sketch is not None:
        terms["sketch"] = Term(o.sketch_weight, lambda a, b: losses.sketch_loss(a, b, sketch, o, dtype))
    if perceptual is not None:
        terms["color"] = Term(o.color_weight, lambda a, b: losses.color_loss(a, b, perceptual, o, dtype))
    return terms


@dataclass(frozen=True)
class Rule:
    """A rule as the trainer sees it.

    terms: the losses between both generators by name; frozen: parts of the names of parameters that stay as they are;
    adversarial: whether a discriminator learns from pictures and judges; hinge: by the hinge loss instead of the
    logistic one; d_blocks: how many of its deepest blocks learn before the last, None for all; layered: whether every
    layer's code is of a z of its own; noise: of both generators where the terms compare them.
    """

    terms: Terms = paper_terms
    frozen: tuple[str, ...] = FROZEN
    adversarial: bool = True
    hinge: bool = False
    d_blocks: int | None = None
    layered: bool = False
    noise: NoiseMode = "const"

    def generator_loss(self, fake_logits: Tensor) -> Tensor:
        """Adversarial, (N,)."""
        return losses.hinge_generator_loss(fake_logits) if self.hinge else losses.generator_loss(fake_logits)

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Adversarial, (N,)."""
        of = losses.hinge_discriminator_loss if self.hinge else losses.discriminator_loss
        return of(real_logits, fake_logits)

    def judging(self, discriminator: Discriminator) -> list[nn.Parameter]:
        """The discriminator's parameters in training, in their own order."""
        named = list(discriminator.named_parameters())
        if self.d_blocks is None:
            return [parameter for _, parameter in named]
        sides = sorted({int(name[1:].split(".")[0]) for name, _ in named if not name.startswith(JUDGE)})
        learning = (JUDGE, *(f"b{side}." for side in sides[: self.d_blocks]))
        return [parameter for name, parameter in named if name.startswith(learning)]


PAPER = Rule()
