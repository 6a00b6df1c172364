"""The paper's rule: an adversary, the sketch loss (Eq. 1) and the colour loss (Eq. 2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refacer.finetuning.rules.rule import Beginning, TextFiles
from refacer.options import FinetuneOptions
from refacer.training.rules import PAPER
from refacer.weights.choices import choose
from refacer.weights.terms import Use


class PaperRule:
    """See `RunRule`."""

    rule, label, pictures = PAPER, "the paper's", True

    def __init__(self, options: FinetuneOptions, files: TextFiles) -> None:
        pass

    def networks(self, beginning: Beginning) -> dict[str, Any]:
        """The sketch extractor and the perceptual network."""
        return {
            "sketch": choose("sketch").load(beginning.device),
            "perceptual": choose("perceptual").load(beginning.device),
        }

    def configuration(self) -> dict[str, Any]:
        """Both."""
        return {"sketch": choose("sketch").description, "perceptual": choose("perceptual").description}

    def notes(self) -> list[str]:
        """What draws the sketches."""
        return [f"sketches (Eq. 1): {choose('sketch').description}"]

    def uses(self) -> list[Use]:
        """Of both; a stand-in without weights has none."""
        found = {"colour loss": choose("perceptual").uses[:1], "sketch loss": choose("sketch").uses}
        return [replace(use, role=role) for role, some in found.items() for use in some]
