"""`refacer align`: faces cut out of pictures."""

from __future__ import annotations

from refacer.commands.flags import Files, Finding, Inputs, Machine, MaxPixels, call
from refacer.options import Choices

EXAMPLE = "refacer align look.png -o face.png"


def align(
    finding: Finding, machine: Machine, files: Files, inputs: Inputs = None, max_pixels: MaxPixels = Choices.max_pixels
) -> None:
    """Cut the faces out of pictures as FFHQ does; where a face came from travels inside its PNG.

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs.align import main

    main(inputs, call(files, machine, finding, max_pixels=max_pixels))
