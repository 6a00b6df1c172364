"""`refacer composite`: faces put back into their picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import PASTING, Machine, MaxPixels, OneFile, Parsing, Pasting, call, existing
from refacer.commands.groups import option
from refacer.options import Choices

EXAMPLE = "refacer composite look.png real.png --mask mask.png -o look.real.png"


def composite(
    target: Annotated[
        list[Path],
        typer.Argument(metavar="TARGET [FACE]...", help="The picture, then faces (none: stdin).", callback=existing),
    ],
    parsing: Parsing,
    pasting: Pasting,
    machine: Machine,
    files: OneFile,
    mask: Annotated[
        list[str] | None,
        option(PASTING, "A file for each face in order, or auto, or none.", show_default="auto"),
    ] = None,
    place: Annotated[
        list[Path] | None,
        option(PASTING, "Take the place from this face or sidecar.", "--align", callback=existing),
    ] = None,
    rendering: Annotated[
        list[Path] | None,
        option(
            PASTING,
            "For a change: the rendering generator's picture of each face, if it does not travel inside.",
            callback=existing,
        ),
    ] = None,
    allow_mismatch: Annotated[bool, option(PASTING, "Paste into another picture too.", "--allow-mismatch")] = False,
    max_pixels: MaxPixels = Choices.max_pixels,
) -> None:
    """Put faces back into the picture they were cut from: their change of look, or the faces themselves."""
    from refacer.jobs.composite import Placing, main

    placing = Placing(tuple(mask or ("auto",)), tuple(place or ()), tuple(rendering or ()), allow_mismatch)
    main(target[0], target[1:], placing, call(files, machine, parsing, pasting, max_pixels=max_pixels))
