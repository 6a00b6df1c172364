"""`refacer dataset`: from pictures to a training set for `refacer finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import FINDING, MACHINE, Cluster, Detector, Files, Machine, MaxPixels, existing
from refacer.commands.groups import option
from refacer.options import MAX_PIXELS, DatasetOptions

EXAMPLE = "refacer dataset renders/ urls.txt -o drfhq"
CHOOSING = "Choosing faces"


@dataclass(frozen=True)
class Choosing:
    """How faces are cut out, and what they must have to be kept."""

    size: Annotated[
        int | None,
        option(FINDING, "Side of the crops in pixels.", min=16, max=4096, show_default="the pair's"),
    ] = DatasetOptions.size
    detector: Detector = DatasetOptions.detector
    min_size: Annotated[
        int | None,
        option(
            CHOOSING, "Least side of a face's square in its picture, in pixels.", min=1, show_default="half of --size"
        ),
    ] = DatasetOptions.min_size
    max_blur: Annotated[float, option(CHOOSING, "Most blur; 0 is sharp.", min=0, max=1)] = DatasetOptions.max_blur
    min_score: Annotated[float, option(CHOOSING, "Least score of dlib's detector on the crop.", min=-1)] = (
        DatasetOptions.min_score
    )
    max_bits: Annotated[
        int,
        option(
            CHOOSING, "Faces whose hashes of 256 bits differ in no more bits than this are duplicates.", min=0, max=256
        ),
    ] = DatasetOptions.max_bits


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
    choosing: Choosing,
    machine: Machine,
    files: Files,
    keep: Annotated[
        list[Path] | None,
        option(CHOOSING, "Keep the faces that this text file names, one a line, and no others.", callback=existing),
    ] = None,
    drop: Annotated[
        list[Path] | None,
        option(CHOOSING, "Drop the faces that this file names.", callback=existing),
    ] = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    offline: Annotated[bool, option(MACHINE, "Refuse lists of URLs.", "--offline")] = DatasetOptions.offline,
    jobs: Annotated[
        int | None,
        option(MACHINE, "Processes at work.", min=1, show_default="the cores"),
    ] = DatasetOptions.jobs,
    cluster: Cluster = DatasetOptions.cluster,
) -> None:
    """Make a training set in the folder -o: align every face, put bad and doubled ones aside, pack the rest.

    The same command again goes on, and applies other limits and lists at once. Look at review.html in the folder.
    `refacer finetune` takes the folder or the dataset.zip in it.
    """
    from refacer.datasets.make import make_dataset

    options = DatasetOptions(
        **vars(choosing),
        **vars(machine),
        keep=tuple(keep or ()),
        drop=tuple(drop or ()),
        max_pixels=max_pixels,
        offline=offline,
        jobs=jobs,
        cluster=cluster,
    )
    make_dataset(sources, options, files)
