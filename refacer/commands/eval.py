"""`refacer eval`: the columns of the paper's Tables 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import FILES, Machine, MaxPixels, Output, Quiet, Seed, existing
from refacer.commands.groups import option
from refacer.options import EvalOptions, FileOptions

EXAMPLE = "refacer eval --pair runs/a --against drfhq/dataset.zip -o runs/a/eval.json"
MEASURING = "Measuring"


@dataclass(frozen=True)
class Measuring:
    """How much is measured."""

    images: Annotated[
        int,
        option(MEASURING, "Pictures drawn by the rendering generator for FID and KID; the paper takes 50000.", min=2),
    ] = EvalOptions.images
    codes: Annotated[
        int,
        option(
            MEASURING,
            "Random codes on which both generators' faces are compared; 0 is none, the paper takes 2000.",
            min=0,
        ),
    ] = EvalOptions.codes
    compare_px: Annotated[
        int,
        option(MEASURING, "Side in pixels at which LPIPS and L2 compare pictures of one name.", min=16, max=4096),
    ] = EvalOptions.compare_px
    batch: Annotated[int, option(MEASURING, "Pictures at once.", min=1)] = EvalOptions.batch


@dataclass(frozen=True)
class MeasureFiles(FileOptions):
    """Where the measures go and what is said about them."""

    output: Output = None
    report: Annotated[
        Path | None,
        option(FILES, "Write a line of JSON for each measure and failure, and a summary."),
    ] = None
    json: Annotated[bool, option(FILES, "Print the measures to stdout.", "--json")] = False
    quiet: Quiet = False
    fail_fast: Annotated[bool, option(FILES, "Stop at the first bad picture.", "--fail-fast")] = False


def eval(
    measuring: Measuring,
    machine: Machine,
    files: MeasureFiles,
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
        option(
            MEASURING,
            "Folder or zip of faces that the pair's rendering generator is compared with; may be repeated.",
            callback=existing,
        ),
    ] = None,
    seed: Seed = EvalOptions.seed,
    max_pixels: MaxPixels = EvalOptions.max_pixels,
) -> None:
    """Measure a pair (FID, KID, identity) or two folders (FID, KID, LPIPS, L2 of pictures of one name).

    Without folders, or with --pair, the pair is measured. A measure is named after the network it was taken by.
    """
    from refacer.evaluation.evaluate import evaluate

    options = EvalOptions(**vars(measuring), **vars(machine), seed=seed, max_pixels=max_pixels)
    evaluate(tuple(sets or ()), tuple(against or ()), options, files)
