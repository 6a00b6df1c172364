"""`refacer dataset`: from pictures to a training set for `refacer finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from refacer.commands.groups import with_groups
from refacer.commands.shared import Common, existing
from refacer.options import AlignOptions, Limits

EXAMPLE = "Example: refacer dataset renders/ urls.txt -o drfhq"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog=EXAMPLE)(with_groups(dataset))


@dataclass(frozen=True)
class DatasetFlags:
    """What a face must have to be kept."""

    size: Annotated[
        int | None, typer.Option(min=16, max=4096, help="Of the crops, in pixels.", show_default="the pair's")
    ] = None
    detector: Annotated[Literal["dlib", "retinaface"], typer.Option(help="What finds the faces.")] = (
        AlignOptions.detector
    )
    min_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Least side of a face's quad in its picture, in pixels.", show_default="half of --size"
        ),
    ] = None
    max_blur: Annotated[float, typer.Option(min=0, max=1, help="Most blur; 0 is sharp.")] = Limits.max_blur
    min_score: Annotated[float, typer.Option(min=-1, help="Least score of dlib's detector on the crop.")] = (
        Limits.min_score
    )
    max_bits: Annotated[
        int, typer.Option(min=0, max=256, help="Faces whose hashes of 256 bits differ in no more are duplicates.")
    ] = Limits.max_bits


def dataset(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Folders, zips, pictures, lists of URLs (.txt, .urls).",
            callback=existing,
            show_default=False,
        ),
    ],
    flags: DatasetFlags,
    common: Common,
    keep: Annotated[
        list[Path] | None,
        typer.Option(help="Keep the faces that this text file names, a line each, and no others.", callback=existing),
    ] = None,
    drop: Annotated[list[Path] | None, typer.Option(help="Drop the faces that it names.", callback=existing)] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at work.", show_default="the cores")] = None,
) -> None:
    """Make a training set in the folder -o: align every face, put bad and doubled ones aside, pack the rest.

    The same command again goes on, and applies other limits and lists at once. Look at review.html in the folder;
    dataset.zip beside it is for `refacer finetune`.
    """
    from refacer.datasets.make import DatasetRun

    DatasetRun(tuple(sources), flags, tuple(keep or ()), tuple(drop or ()), jobs, common).go()
