"""Photo-realistic faces for rendered avatars in garment display images.

    >>> import refacer
    >>> refacer.run("look.png").save("look.real.png")

`refacer.run` does the whole job; a `refacer.Refacer` reads its networks once and offers every stage. Importing this
package is light: torch and everything else heavy is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refacer.engine import Refacer, Result, Stages, run
    from refacer.errors import (
        InputRefused,
        Mismatch,
        NoFace,
        OutOfMemory,
        OutputNotWritable,
        PassportMismatch,
        RefacerError,
        RefacerWarning,
        ShapeMismatch,
        UsageError,
        WeightsMissing,
    )
    from refacer.files.artefacts import Display, Face, Latents, Mask
    from refacer.options import Choices
    from refacer.weights.pairs import Pair, load_pair

__version__ = "0.1.0"

_HOMES = {
    "refacer.engine": ("Refacer", "Result", "Stages", "run"),
    "refacer.errors": (
        "InputRefused",
        "Mismatch",
        "NoFace",
        "OutOfMemory",
        "OutputNotWritable",
        "PassportMismatch",
        "RefacerError",
        "RefacerWarning",
        "ShapeMismatch",
        "UsageError",
        "WeightsMissing",
    ),
    "refacer.files.artefacts": ("Display", "Face", "Latents", "Mask"),
    "refacer.options": ("Choices",),
    "refacer.weights.pairs": ("Pair", "load_pair"),
}

__all__ = [
    "Choices",
    "Display",
    "Face",
    "InputRefused",
    "Latents",
    "Mask",
    "Mismatch",
    "NoFace",
    "OutOfMemory",
    "OutputNotWritable",
    "Pair",
    "PassportMismatch",
    "Refacer",
    "RefacerError",
    "RefacerWarning",
    "Result",
    "ShapeMismatch",
    "Stages",
    "UsageError",
    "WeightsMissing",
    "load_pair",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for from where it lives."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'refacer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
