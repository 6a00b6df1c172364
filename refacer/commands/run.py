"""`refacer run`: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from refacer.commands.flags import (
    FILES,
    FINDING,
    MACHINE,
    PASTING,
    Cluster,
    Decoding,
    Files,
    Finding,
    Inputs,
    Inversion,
    Machine,
    MaxPixels,
    Parsing,
    Pasting,
    Seed,
    call,
)
from refacer.commands.groups import option
from refacer.commands.places import local
from refacer.options import Call, Choices, RangeChoice, Way

EXAMPLE = "refacer run shots/ -o out/ --report out/report.ndjson"


def run(
    finding: Finding,
    inversion: Inversion,
    decoding: Decoding,
    parsing: Parsing,
    pasting: Pasting,
    machine: Machine,
    files: Files,
    inputs: Inputs = None,
    mask: Annotated[
        Literal["auto", "none"],
        option(PASTING, "Paste the parsed parts, or all of the crop."),
    ] = Choices.mask,
    way: Annotated[
        Way | None,
        option(MACHINE, "By inversion as in the paper, or by the pair's distilled network.", show_default="the pair's"),
    ] = Choices.way,
    range_choice: Annotated[
        RangeChoice,
        option(PASTING, "Leave faces unlike those that the pair knows as they are, or not.", "--range"),
    ] = Choices.range,
    keep_stages: Annotated[
        Path | None, option(FILES, "Folder for every stage's files.", file_okay=False, callback=local)
    ] = None,
    identity: Annotated[
        bool,
        option(FILES, "Measure how alike each face stays, for the report; takes some time.", "--identity"),
    ] = False,
    sequence: Annotated[
        bool,
        option(FINDING, "The pictures are frames of one sequence: keep its faces steady.", "--sequence"),
    ] = False,
    cluster: Cluster = Call.cluster,
    seed: Seed = Choices.seed,
    max_pixels: MaxPixels = Choices.max_pixels,
) -> None:
    """Give the faces in pictures a photo-realistic look; everything else stays as it is.

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs import video
    from refacer.jobs.run import main

    groups = (finding, inversion, decoding, parsing, pasting)
    chosen = {"mask": mask, "way": way, "range": range_choice, "seed": seed, "max_pixels": max_pixels}
    typed = call(files, machine, *groups, cluster=cluster, **chosen)
    if inputs and video.has_video(inputs):
        video.main(inputs, typed, keep_stages, identity=identity)
        return
    main(inputs, typed, keep_stages, identity=identity, sequence=sequence)
