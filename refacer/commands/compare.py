"""`refacer compare`: the paper's method beside its rivals, on the same faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import INVERSION, Cluster, Files, Machine, MaxPixels, Seed, existing, existing_file
from refacer.commands.groups import option
from refacer.options import CompareOptions

EXAMPLE = "refacer compare faces/ -o compared/ --methods ours,project-face,direct"
COMPARING = "Comparing"


def named_folder(value: str) -> tuple[str, Path]:
    """NAME=FOLDER; Typer's own message where it is something else, or the folder is not there."""
    name, _, folder = value.partition("=")
    if not name or not folder:
        raise typer.BadParameter(f"--run {value}: give a method's name and its folder, as in agile=runs/agile.")
    if not Path(folder).is_dir():
        raise typer.BadParameter(f"--run {value}: folder '{folder}' does not exist.")
    return name, Path(folder)


def compare(
    faces: Annotated[
        list[Path],
        typer.Argument(metavar="FACES", help="Aligned faces: files or folders.", callback=existing, show_default=False),
    ],
    machine: Machine,
    files: Files,
    methods: Annotated[str, option(COMPARING, "Methods, with commas between them; a wrong name lists all.")] = ",".join(
        CompareOptions.methods
    ),
    truth: Annotated[
        Path | None,
        option(COMPARING, "Folder or zip of the true photographs, by the faces' names.", show_default=False),
    ] = None,
    against: Annotated[
        list[Path] | None,
        option(COMPARING, "Folder or zip that FID and KID are taken to; may be repeated.", callback=existing),
    ] = None,
    judge: Annotated[
        Path | None,
        option(COMPARING, "A trained judge of photographs (.safetensors).", callback=existing_file, show_default=False),
    ] = None,
    runs: Annotated[
        list[str] | None,
        option(
            COMPARING,
            "A method's own folder: agile, nada, image-guided, an encoder's name=RUN, sdedit=MODEL; may be repeated.",
            "--run",
            metavar="NAME=FOLDER",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int | None, option(INVERSION, "Optimisation steps.", min=1, show_default="the pair's")] = None,
    cluster: Cluster = CompareOptions.cluster,
    seed: Seed = CompareOptions.seed,
    max_pixels: MaxPixels = CompareOptions.max_pixels,
) -> None:
    """Run several methods on the same faces into the folder -o: every picture, a table, sheets, a page with a slider.

    The same command again goes on where it stopped. A method whose weights are absent is left out, and the command that
    gets them is named. `refacer study make` takes the folder.
    """
    from refacer.comparison.compare import compare as run

    options = CompareOptions(
        methods=tuple(name.strip() for name in methods.split(",")),
        truth=truth,
        against=tuple(against or ()),
        judge=judge,
        runs=dict(map(named_folder, runs or ())),
        **vars(machine),
        steps=steps,
        seed=seed,
        max_pixels=max_pixels,
        cluster=cluster,
    )
    run(faces, options, files)
