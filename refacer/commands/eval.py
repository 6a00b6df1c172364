"""`refacer eval`: the columns of the paper's Tables 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import FILES, Machine, MaxPixels, Output, Seed, existing
from refacer.commands.groups import add_command
from refacer.options import EvalOptions, FileOptions

MEASURING = "Measuring"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    add_command(app, eval, "refacer eval --pair runs/a --against drfhq/dataset.zip -o runs/a/eval.json")


@dataclass(frozen=True)
class Measuring:
    """How much is measured."""

    images: Annotated[
        int,
        typer.Option(
            min=2,
            help="Pictures drawn by the rendering generator for FID and KID; the paper takes 50000.",
            rich_help_panel=MEASURING,
        ),
    ] = EvalOptions.images
    codes: Annotated[
        int,
        typer.Option(
            min=0,
            help="Random codes on which both generators' faces are compared; 0 is none, the paper takes 2000.",
            rich_help_panel=MEASURING,
        ),
    ] = EvalOptions.codes
    compare_px: Annotated[
        int,
        typer.Option(
            min=16,
            max=4096,
            help="Side in pixels at which LPIPS and L2 compare pictures of one name.",
            rich_help_panel=MEASURING,
        ),
    ] = EvalOptions.compare_px
    batch: Annotated[int, typer.Option(min=1, help="Pictures at once.", rich_help_panel=MEASURING)] = EvalOptions.batch


@dataclass(frozen=True)
class MeasureFiles(FileOptions):
    """Where the measures go and what is said about them."""

    output: Output = None
    report: Annotated[
        Path | None,
        typer.Option(help="Write a line of JSON for each measure and failure, and a summary.", rich_help_panel=FILES),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print the measures to stdout.", rich_help_panel=FILES)] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.", rich_help_panel=FILES)] = False
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first bad picture.", rich_help_panel=FILES)
    ] = False


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
        typer.Option(
            help="Folder or zip of faces that the pair's rendering generator is compared with; may be repeated.",
            callback=existing,
            rich_help_panel=MEASURING,
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
