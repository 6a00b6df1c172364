"""StyleGAN-NADA by text (Gal et al. 2021, arXiv:2108.00946): in CLIP's direction from one text to another, no pictures.

Of the published two networks, ViT-B/32 and ViT-B/16, the one that is installed; texts are put into our own few phrases
instead of the published 79. Layers are not chosen anew while it trains, which the published example (18 of 18) does not
do either.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from refacer.errors import InputRefused, UsageError
from refacer.files import read_bytes, write_atomic
from refacer.finetuning.rules.rule import Beginning, TextFiles
from refacer.networks.clip import Clip
from refacer.networks.clip_tokens import Tokens
from refacer.options import FinetuneOptions
from refacer.training.directions import DIRECTED
from refacer.weights.choices import choose, require
from refacer.weights.terms import Use

SOURCE_TEXT, TEXT = "Photo", "Rendered avatar"
"""Sec. 4.2.3 of the paper."""

PHRASES = ("a {}.", "a picture of a {}.", "a portrait of a {}.", "a close-up of a {}.", "a {} of a person.",
           "a {} of a face.", "a bright {}.", "a dark {}.", "a clean {}.", "one {}.", "the {}.", "my {}.")  # fmt: skip

DIRECTION_FILE = "direction.safetensors"
TENSOR, ABOUT = "direction", "texts"


class ClipCompass:
    """CLIP with a direction."""

    def __init__(self, network: Clip, direction: Tensor) -> None:
        self.embed = network.embed
        self.direction = direction


class NadaRule:
    """See `RunRule`. The direction is found once and kept in the run's folder, so that texts are read only once.

    Raises WeightsMissing where CLIP is not installed.
    """

    rule, pictures = DIRECTED, False

    def __init__(self, options: FinetuneOptions, files: TextFiles) -> None:
        self._choice = choose("clip", "clip")
        require([self._choice])
        self._files = files
        if files.direction is not None and (options.text or options.source_text):
            raise UsageError("--direction is the direction between two texts; leave out --text and --source-text")
        self._texts = (options.source_text or SOURCE_TEXT, options.text or TEXT)
        self.label = f"StyleGAN-NADA by text ({self._choice.label})"

    def networks(self, beginning: Beginning) -> dict[str, Any]:
        """CLIP with the direction: that of the run's folder, of a file, or of the two texts."""
        network: Clip = self._choice.load(beginning.device)
        kept = beginning.folder / DIRECTION_FILE
        if self._files.direction is not None:
            direction = read_direction(self._files.direction, None, network.config.embedding)
        elif kept.is_file():
            direction = read_direction(kept, self._about, network.config.embedding)
        else:
            direction = self._of_texts(network, beginning.device)
            write_atomic(kept, save({TENSOR: direction.cpu()}, metadata={ABOUT: self._about}))
        return {"compass": ClipCompass(network, direction.to(beginning.device))}

    @property
    def _about(self) -> str:
        return json.dumps({"clip": self._choice.description, "texts": self._texts, "phrases": len(PHRASES)})

    @torch.no_grad()
    def _of_texts(self, network: Clip, device: torch.device) -> Tensor:
        """The mean over the phrases of both texts' difference."""
        if self._files.vocabulary is None:
            raise UsageError(
                "a text is read by CLIP's list of merges: name merges.txt, which lies beside the model, with "
                "--vocabulary FILE, or another run's direction.safetensors with --direction FILE"
            )
        tokens = Tokens(read_bytes(self._files.vocabulary).decode("utf-8", "replace").splitlines())
        if tokens.count != network.config.vocabulary:
            raise InputRefused(
                f"{self._files.vocabulary}: makes {tokens.count} tokens, CLIP knows {network.config.vocabulary}"
            )
        source, target = (
            F.normalize(network.embed_tokens(_batch(tokens, text, network.config.tokens).to(device)))
            for text in self._texts
        )
        return (target - source).mean(0)

    def configuration(self) -> dict[str, Any]:
        """CLIP, and the direction where it is given as a file."""
        given = self._files.direction
        found = {"direction_sha256": hashlib.sha256(read_bytes(given)).hexdigest()} if given else {}
        return {"clip": self._choice.description, **found}

    def notes(self) -> list[str]:
        """From which text to which."""
        if self._files.direction is not None:
            return [f"{self.label}: in the direction of {self._files.direction}"]
        return [f"{self.label}: from '{self._texts[0]}' to '{self._texts[1]}'"]

    def uses(self) -> list[Use]:
        """Of CLIP."""
        return [replace(use, role="direction loss") for use in self._choice.uses]


def read_direction(path: Path, about: str | None, length: int) -> Tensor:
    """A direction (length,) from its file; about: what the file must say of itself, None for anything.

    Raises InputRefused.
    """
    try:
        with safe_open(path, framework="pt") as file:
            direction, said = file.get_tensor(TENSOR).float(), (file.metadata() or {}).get(ABOUT)
    except (SafetensorError, OSError) as error:
        raise InputRefused(f"{path}: holds no direction") from error
    if direction.shape != (length,) or not direction.isfinite().all() or not direction.any():
        raise InputRefused(f"{path}: its direction is none of this network, {length} numbers")
    if about not in (None, said):
        raise InputRefused(f"{path}: is the direction of other texts or of another network; use another -o")
    return direction


def _batch(tokens: Tokens, text: str, most: int) -> Tensor:
    """The phrases with a text (P, T), filled up with zeros. The end has the greatest number of all."""
    rows = [tokens.encode(phrase.format(text)) for phrase in PHRASES]
    if (spare := most - max(len(row) for row in rows)) < 0:
        raise UsageError(f"'{text}': too long a text by {-spare} tokens")
    batch = torch.zeros(len(rows), most, dtype=torch.long)
    for row, found in zip(batch, rows, strict=True):
        row[: len(found)] = torch.tensor(found)
    return batch
