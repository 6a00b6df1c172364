"""`refacer project`: codes of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from refacer.commands.flags import (
    FILES,
    INVERSION,
    Cluster,
    Files,
    Inputs,
    Inversion,
    Machine,
    MaxPixels,
    Seed,
    call,
)
from refacer.commands.groups import option
from refacer.options import Call, Choices, GeneratorRole, ProjectOptions

EXAMPLE = "refacer project face.png -o codes.npy"


def project(
    inversion: Inversion,
    machine: Machine,
    files: Files,
    inputs: Inputs = None,
    into: Annotated[GeneratorRole, option(INVERSION, "Which generator of the pair is inverted.")] = ProjectOptions.into,
    trace: Annotated[Path | None, option(FILES, "Write a line of JSON for each face and step.")] = None,
    cluster: Cluster = Call.cluster,
    seed: Seed = Choices.seed,
    max_pixels: MaxPixels = Choices.max_pixels,
) -> None:
    """Find the W+ code of aligned faces (Eq. 4).

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs.project import main

    typed = call(files, machine, inversion, cluster=cluster, seed=seed, max_pixels=max_pixels)
    main(inputs, typed, into, trace)
