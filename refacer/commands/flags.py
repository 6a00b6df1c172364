"""The options that commands share, in groups. A command takes the groups that it reads, and no others.

Defaults are those of refacer/options.py; commands/groups.py turns a group into options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from refacer.options import (
    DEFAULT_PAIR,
    PASTED_CLASSES,
    Call,
    Choices,
    FileOptions,
    NoiseMode,
    ParserChoice,
    Paste,
    Perception,
    ProjectOptions,
)

FINDING, INVERSION, DECODING, PASTING = "Finding faces", "Inversion", "Decoding", "Pasting"
MACHINE, FILES = "Networks and machine", "Files"


def call(files: FileOptions, machine: Machine, *groups: Any, **choices: Any) -> Call:
    """A command as it was typed; `groups` and `choices` are what it lets its user choose."""
    chosen = {name: value for group in groups for name, value in vars(group).items()}
    return Call(files, machine.pair, machine.device, Choices(**chosen, **choices))


def existing(paths: list[Path] | None) -> list[Path] | None:
    """Typer's own message for a path that is not there; `-` is stdin."""
    for path in paths or ():
        if str(path) != "-" and not path.exists():
            raise typer.BadParameter(f"Path '{path}' does not exist.")
    return paths


def existing_file(path: Path | None) -> Path | None:
    """The same for an option that takes one file."""
    if path is not None and not path.is_file():
        raise typer.BadParameter(f"File '{path}' does not exist.")
    return path


def face_choice(faces: str | None) -> str | None:
    """Typer's message for what --faces cannot mean."""
    if faces is not None and not re.fullmatch(r"all|largest|\d+(,\d+)*", faces):
        raise typer.BadParameter(f"'{faces}' is not all, largest, or numbers such as 0,2.")
    return faces


Inputs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="INPUT", help="Files, folders, or - for stdin.", callback=existing, show_default=False),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="A file, a folder, or - for stdout.", rich_help_panel=FILES)
]
PairName = Annotated[
    str | None,
    typer.Option(
        "--pair",
        help="Pair of generators: a name or a folder.",
        show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}",
        rich_help_panel=MACHINE,
    ),
]
DeviceName = Annotated[
    str, typer.Option("--device", help="Where networks run: auto, cpu, cuda[:N] or mps.", rich_help_panel=MACHINE)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all noise.", rich_help_panel=MACHINE)]
MaxPixels = Annotated[
    int, typer.Option(min=1, help="Refuse pictures with more pixels than this.", rich_help_panel=FILES)
]
Faces = Annotated[
    str | None,
    typer.Option(
        help="Which faces: all, largest, or numbers from the left such as 0,2.",
        show_default="all; align into one file: largest",
        callback=face_choice,
        rich_help_panel=FINDING,
    ),
]
Detector = Annotated[Literal["dlib", "retinaface"], typer.Option(help="What finds the faces.", rich_help_panel=FINDING)]


@dataclass(frozen=True)
class Files(FileOptions):
    """Where results go and what is said about them."""

    output: Output = None
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="In a folder: redo what is up to date, overwrite what is not refacer's.",
            rich_help_panel=FILES,
        ),
    ] = False
    report: Annotated[
        Path | None, typer.Option(help="Write a line of JSON for each item and a summary.", rich_help_panel=FILES)
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print the report to stdout as one JSON object.", rich_help_panel=FILES)
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.", rich_help_panel=FILES)] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Print a line for each item, and the licence in use.", rich_help_panel=FILES
        ),
    ] = False
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first bad input.", rich_help_panel=FILES)
    ] = False


@dataclass(frozen=True)
class OneFile(FileOptions):
    """Where the one result goes and what is said about it."""

    output: Output = None
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="In a folder, overwrite a file that is not refacer's.",
            rich_help_panel=FILES,
        ),
    ] = False
    report: Annotated[
        Path | None, typer.Option(help="Write a line of JSON for each item and a summary.", rich_help_panel=FILES)
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print the report to stdout as one JSON object.", rich_help_panel=FILES)
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.", rich_help_panel=FILES)] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Print a line for each item, and the licence in use.", rich_help_panel=FILES
        ),
    ] = False


@dataclass(frozen=True)
class Machine:
    """Which networks, and where they run."""

    pair: PairName = None
    device: DeviceName = "auto"


@dataclass(frozen=True)
class Finding:
    """How faces are found and cut out."""

    faces: Faces = Choices.faces
    size: Annotated[
        int | None,
        typer.Option(
            min=16, max=4096, help="Side of the crop in pixels.", show_default="the pair's", rich_help_panel=FINDING
        ),
    ] = Choices.size
    detector: Detector = Choices.detector
    min_size: Annotated[
        int,
        typer.Option(min=1, help="Ignore faces whose crop has a shorter side, in pixels.", rich_help_panel=FINDING),
    ] = Choices.min_size


@dataclass(frozen=True)
class Inversion:
    """How codes are found."""

    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Optimisation steps; the paper takes {ProjectOptions.steps}.",
            show_default="the pair's",
            rich_help_panel=INVERSION,
        ),
    ] = Choices.steps
    lr: Annotated[
        float | None,
        typer.Option(min=0, help="Learning rate.", show_default="the pair's", rich_help_panel=INVERSION),
    ] = Choices.lr
    noise_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the noise regulariser (Eq. 4).", rich_help_panel=INVERSION)
    ] = Choices.noise_weight
    prior: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Weight of the latent prior; 0 is the paper's loss.",
            show_default="the pair's",
            rich_help_panel=INVERSION,
        ),
    ] = Choices.prior
    init: Annotated[
        str, typer.Option(help="Where to start: mean, or a .npy file of one code.", rich_help_panel=INVERSION)
    ] = str(Choices.init)
    batch: Annotated[int, typer.Option(min=1, help="Faces projected at once.", rich_help_panel=INVERSION)] = (
        Choices.batch
    )
    perceptual: Annotated[
        Perception,
        typer.Option(
            help="Distance of Eq. 4: lpips, or the pair's own; auto: lpips if installed.", rich_help_panel=INVERSION
        ),
    ] = Choices.perceptual


@dataclass(frozen=True)
class Decoding:
    """How codes are drawn."""

    generator: Annotated[
        Path | None,
        typer.Option(
            help="A generator file in place of the pair's.",
            callback=existing_file,
            show_default=False,
            rich_help_panel=DECODING,
        ),
    ] = None
    noise: Annotated[NoiseMode, typer.Option(help="The generator's noise maps.", rich_help_panel=DECODING)] = (
        Choices.noise
    )
    psi: Annotated[
        float | None,
        typer.Option(
            min=-2,
            max=2,
            help="Truncation towards the mean face; 1 is none.",
            show_default="the pair's",
            rich_help_panel=DECODING,
        ),
    ] = Choices.psi


@dataclass(frozen=True)
class Parsing:
    """Which parts are pasted, and as what."""

    paste: Annotated[
        Paste | None,
        typer.Option(
            help="change: keep the picture's pixels and change their look; face: paste the new face (Eq. B1); "
            "auto: the face where the rendering matches, the change elsewhere.",
            show_default="the pair's",
            rich_help_panel=PASTING,
        ),
    ] = Choices.paste
    classes: Annotated[
        str | None,
        typer.Option(
            help="Parts of the face that make the mask, with commas between them.",
            show_default=f"{','.join(PASTED_CLASSES)}; for a change neck, too",
            rich_help_panel=PASTING,
        ),
    ] = Choices.classes
    parser: Annotated[
        ParserChoice,
        typer.Option(
            help="What finds the parts; auto: the pair's, else bisenet if installed.", rich_help_panel=PASTING
        ),
    ] = Choices.parser


@dataclass(frozen=True)
class Pasting:
    """How a face is blended in."""

    erode: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Erosion of the mask, as a fraction of the crop's side.", rich_help_panel=PASTING
        ),
    ] = Choices.erode
    feather: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Softness of its edge, as a fraction of the crop's side.", rich_help_panel=PASTING
        ),
    ] = Choices.feather
    color: Annotated[
        Literal["none", "lab"] | None,
        typer.Option(
            help="Match a pasted face's colours to the picture's; keep part of a change's tint away.",
            show_default="lab; none for what was translated",
            rich_help_panel=PASTING,
        ),
    ] = Choices.color
    strength: Annotated[
        float | None,
        typer.Option(min=0, max=10, help="Strength of the change.", show_default="the pair's", rich_help_panel=PASTING),
    ] = Choices.strength
