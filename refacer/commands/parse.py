"""`refacer parse`: the pasted parts of faces."""

from __future__ import annotations

from typing import Annotated

import typer

from refacer.commands.flags import PASTING, Files, Inputs, Machine, MaxPixels, Parsing, call
from refacer.options import Choices

EXAMPLE = "refacer parse real.png -o mask.png"


def parse(
    parsing: Parsing,
    machine: Machine,
    files: Files,
    inputs: Inputs = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Write all 19 classes as a palette PNG.", rich_help_panel=PASTING)
    ] = False,
    max_pixels: MaxPixels = Choices.max_pixels,
) -> None:
    """Find the parts of aligned faces that are pasted.

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs.parse import main

    main(inputs, call(files, machine, parsing, max_pixels=max_pixels), labels)
