"""AgileGAN's second stage (Song et al. 2021): an adversary and a perceptual distance between both generators.

As MMGEN-FaceStylor trains it, for AgileGAN's authors published no training: a z for every layer, the hinge loss, the
early blocks of the discriminator frozen, ToRGB in training. Two points differ: pictures are compared with constant
noise, and LPIPS has all of its layers, of which the article is said to leave out the first nine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from refacer.finetuning.rules.rule import Beginning, TextFiles
from refacer.options import FinetuneOptions
from refacer.training import losses
from refacer.training.generate import TrainingNetworks
from refacer.training.rules import Rule, Term
from refacer.weights.choices import choose
from refacer.weights.terms import Use

D_BLOCKS = 5  # of the discriminator, from the deepest, learn beside its head


def agile_terms(nets: TrainingNetworks, o: FinetuneOptions, dtype: torch.dtype) -> dict[str, Term]:
    """LPIPS, or what stands in for it, between both pictures of a code."""
    perceptual = nets.perceptual
    if perceptual is None:
        return {}
    return {
        "similarity": Term(
            o.similarity_weight, lambda a, b: losses.similarity_loss(a, b, perceptual, o.similarity_px, dtype)
        )
    }


class AgileRule:
    """See `RunRule`."""

    rule = Rule(agile_terms, frozen=("mapping.",), hinge=True, d_blocks=D_BLOCKS, layered=True)
    label, pictures = "AgileGAN's second stage", True

    def __init__(self, options: FinetuneOptions, files: TextFiles) -> None:
        pass

    def networks(self, beginning: Beginning) -> dict[str, Any]:
        """The perceptual network."""
        return {"perceptual": choose("perceptual").load(beginning.device)}

    def configuration(self) -> dict[str, Any]:
        """The same."""
        return {"perceptual": choose("perceptual").description}

    def notes(self) -> list[str]:
        """What compares, and from where the rule is known."""
        return [
            f"{self.label}, as others have published its training",
            f"similarity of both generators: {choose('perceptual').description}",
        ]

    def uses(self) -> list[Use]:
        """Of the perceptual network."""
        return [replace(use, role="similarity loss") for use in choose("perceptual").uses[:1]]
