"""`refacer eval`: the columns of the paper's Tables 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.groups import with_groups
from refacer.commands.shared import Common, existing
from refacer.options import EvalOptions

EXAMPLE = "Example: refacer eval --pair runs/a --against drfhq/dataset.zip -o runs/a/eval.json"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("eval", epilog=EXAMPLE)(with_groups(evaluate))


@dataclass(frozen=True)
class EvalFlags:
    """How much is measured."""

    images: Annotated[
        int, typer.Option(min=2, help="Pictures drawn by the rendering generator for FID and KID; the paper's: 50000.")
    ] = EvalOptions.images
    codes: Annotated[
        int,
        typer.Option(
            min=0, help="Random codes on which both generators' faces are compared; 0: none; the paper's: 2000."
        ),
    ] = EvalOptions.codes
    compare_px: Annotated[
        int, typer.Option(min=16, max=4096, help="Side at which LPIPS and L2 compare pictures of one name.")
    ] = EvalOptions.compare_px
    batch: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = EvalOptions.batch


def evaluate(
    flags: EvalFlags,
    common: Common,
    sets: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RESULTS INPUTS",
            help="Two folders or zips of pictures that are compared.",
            callback=existing,
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder or zip of faces that the pair's rendering generator is compared with; may be repeated.",
            callback=existing,
        ),
    ] = None,
) -> None:
    """Measure a pair (FID, KID, identity) or two folders (FID, KID, LPIPS, L2 of pictures of one name).

    Without folders, or with --pair, the pair is measured. A measure is named after the network it was taken by.
    """
    from refacer.evaluation.evaluate import Evaluation

    Evaluation(tuple(sets or ()), tuple(against or ()), flags, common).go()
