"""`refacer sdedit`: a rival of the paper's, which noises a face and lets a model of photographs take the noise off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import DeviceName, Files, Machine, MaxPixels, Seed, call, existing
from refacer.commands.groups import option
from refacer.options import Choices, SDEditOptions

EXAMPLE = "refacer sdedit faces/ -o edited/ --t0 0.3 --samples 3 --model runs/denoiser"
EDITING = "Editing"


def sdedit(
    faces: Annotated[
        list[Path],
        typer.Argument(metavar="FACES", help="Aligned faces: files or folders.", callback=existing, show_default=False),
    ],
    model: Annotated[
        Path,
        option(EDITING, "Folder of a model: of tools/studio/train_diffusion.py, or of diffusers.", show_default=False),
    ],
    files: Files,
    t0: Annotated[
        float, option(EDITING, "How much noise is put on, as a share of the model's levels.", min=0.001, max=1)
    ] = SDEditOptions.t0,
    samples: Annotated[int, option(EDITING, "Results of each face, of seeds from --seed on.", min=1)] = (
        SDEditOptions.samples
    ),
    steps: Annotated[
        int, option(EDITING, "DDIM's steps over all levels; --t0 times as many are done.", min=1)
    ] = SDEditOptions.steps,
    seed: Seed = SDEditOptions.seed,
    device: DeviceName = "auto",
    max_pixels: MaxPixels = Choices.max_pixels,
) -> None:
    """Put noise on aligned faces and let a model of photographs take it off (SDEdit), as the paper compares with it.

    Results are as large as the model's pictures. In a folder, what is up to date is left alone.
    """
    from refacer.jobs.sdedit import main

    chosen = call(files, Machine(device=device), max_pixels=max_pixels)
    main(faces, model, SDEditOptions(t0, samples, steps, seed), chosen)
