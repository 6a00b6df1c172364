"""`refacer parse`: the pasted parts of faces."""

from __future__ import annotations

from typing import Annotated

from refacer.commands.flags import PASTING, Files, Inputs, Machine, MaxPixels, Parsing, call
from refacer.commands.groups import option
from refacer.options import Choices

EXAMPLE = "refacer parse real.png -o mask.png"


def parse(
    parsing: Parsing,
    machine: Machine,
    files: Files,
    inputs: Inputs = None,
    labels: Annotated[bool, option(PASTING, "Write all 19 classes as a palette PNG.", "--labels")] = False,
    max_pixels: MaxPixels = Choices.max_pixels,
) -> None:
    """Find the parts of aligned faces that are pasted.

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs.parse import main

    main(inputs, call(files, machine, parsing, max_pixels=max_pixels), labels)
