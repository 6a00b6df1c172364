"""`refacer translate`: realistic faces without inversion."""

from __future__ import annotations

from refacer.commands.flags import Files, Inputs, Machine, MaxPixels, call
from refacer.options import Choices

EXAMPLE = "refacer align look.png | refacer translate | refacer composite look.png > look.real.png"


def translate(
    machine: Machine, files: Files, inputs: Inputs = None, max_pixels: MaxPixels = Choices.max_pixels
) -> None:
    """Give aligned faces the realistic look by the pair's distilled network: no inversion, milliseconds a face.

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs.translate import main

    main(inputs, call(files, machine, max_pixels=max_pixels))
