"""What a run of `refacer finetune` asks a rule for, beside what the trainer asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from refacer.errors import UsageError
from refacer.networks.stylegan2.networks import Generator
from refacer.options import RULES, FinetuneOptions
from refacer.training.dataset import FaceDataset
from refacer.training.rules import Rule
from refacer.weights.terms import Use


@dataclass(frozen=True)
class TextFiles:
    """Files that a rule by text may be given. direction: made by an earlier run; vocabulary: CLIP's merges.txt."""

    direction: Path | None = None
    vocabulary: Path | None = None


NO_FILES = TextFiles()


@dataclass(frozen=True)
class Beginning:
    """What a run has when its rule's networks are read. real: the source; data: None where no pictures are given."""

    device: torch.device
    real: Generator
    data: FaceDataset | None
    folder: Path


class RunRule(Protocol):
    """A rule of a run.

    rule: what the trainer does; label: what it is called wherever it is shown; pictures: whether it learns from any.
    """

    rule: Rule
    label: str
    pictures: bool

    def __init__(self, options: FinetuneOptions, files: TextFiles) -> None:
        """Raises WeightsMissing for networks that are not there, UsageError for options that do not fit."""
        ...

    def networks(self, beginning: Beginning) -> Mapping[str, Any]:
        """The frozen networks that it compares by, by their fields of TrainingNetworks."""
        ...

    def configuration(self) -> Mapping[str, Any]:
        """What a resumed run must share, beside the options."""
        ...

    def notes(self) -> Sequence[str]:
        """What users should know."""
        ...

    def uses(self) -> Sequence[Use]:
        """The terms of the networks that it compares by."""
        ...


def rule_of(options: FinetuneOptions, files: TextFiles) -> RunRule:
    """The rule that the options name; raises UsageError for one that does not exist, and what making it raises."""
    if options.rule not in RULES:
        raise UsageError(f"--rule {options.rule}: choose among {', '.join(RULES)}")
    if options.from_scratch and options.rule != "paper":
        raise UsageError(f"--rule {options.rule}: a base is trained by no rule; leave out --from-scratch")
    given = {"--text": options.text, "--source-text": options.source_text, **_named(files)}
    useless = [name for name, value in given.items() if value is not None]
    if useless and options.rule != "nada":
        raise UsageError(f"{useless[0]}: read by --rule nada alone")
    if options.rule != "paper" and (options.sketch_weight or options.color_weight):
        raise UsageError("--sketch-weight, --color-weight: read by --rule paper alone")
    module, name = RULES[options.rule].split(":")
    return getattr(import_module(f"refacer.finetuning.rules.{module}"), name)(options, files)


def _named(files: TextFiles) -> dict[str, Path | None]:
    return {"--direction": files.direction, "--vocabulary": files.vocabulary}
