"""The options that commands share, in groups. A command takes the groups that it reads, and no others.

Defaults are those of refacer/options.py; commands/groups.py turns a group into options.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from refacer.commands.groups import option
from refacer.commands.places import is_there, local, place
from refacer.options import (
    DEFAULT_PAIR,
    INVERTERS,
    PASTED_CLASSES,
    Axes,
    Call,
    Choices,
    FileOptions,
    NoiseMode,
    ParserChoice,
    Paste,
    Perception,
    Precision,
    ProjectOptions,
)

PATIENCE = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait for others sleep instead of spinning: beside a busy neighbour they would take its time and ours.

GNU's OpenMP and LLVM's read this when torch is imported, which no command does before its options are known.
"""

FINDING, INVERSION, DECODING, PASTING = "Finding faces", "Inversion", "Decoding", "Pasting"
MACHINE, FILES, FOLDER = "Networks and machine", "Files", "Data and run folder"


def call(
    files: FileOptions, machine: Machine, *groups: Any, cluster: str | None = Call.cluster, **choices: Any
) -> Call:
    """A command as it was typed; `groups` and `choices` are what it lets its user choose."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    chosen = {name: value for group in groups for name, value in vars(group).items()}
    return Call(files, machine.pair, machine.device, Choices(**chosen, **choices), cluster)


def existing(paths: list[Path] | None) -> list[Path] | None:
    """Typer's own message for a path that is not there; `-` is stdin."""
    for path in paths or ():
        if str(path) != "-" and not is_there(path):
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
    typer.Argument(
        metavar="INPUT",
        help="Files, folders, URLs of such, or - for stdin.",
        parser=place,
        callback=existing,
        show_default=False,
    ),
]
Output = Annotated[str | None, option(FILES, "A file, a folder, or - for stdout.", "--output", "-o")]
Report = Annotated[
    Path | None, option(FILES, "Write a line of JSON for each item and a summary; X.html is a page.", callback=local)
]
Json = Annotated[bool, option(FILES, "Print the report to stdout as one JSON object.", "--json")]
Quiet = Annotated[bool, option(FILES, "Print only errors.", "--quiet", "-q")]
Verbose = Annotated[bool, option(FILES, "Print a line for each item, and the licence in use.", "--verbose", "-v")]
FailFast = Annotated[bool, option(FILES, "Stop at the first bad input.", "--fail-fast")]
MaxPixels = Annotated[int, option(FILES, "Refuse pictures with more pixels than this.", min=1)]
PairName = Annotated[
    str | None,
    option(
        MACHINE,
        "Pair of generators: a name or a folder.",
        "--pair",
        show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}",
    ),
]
DeviceName = Annotated[str, option(MACHINE, "Where networks run: auto, cpu, cuda[:N] or mps.", "--device")]
Cluster = Annotated[
    str | None,
    option(
        MACHINE,
        "Work on a Ray cluster: auto (the one that runs here), local (made for this call), or HOST:PORT.",
        "--cluster",
        show_default="this machine alone",
    ),
]
Seed = Annotated[int, option(MACHINE, "Seed of all noise.", min=0)]
Faces = Annotated[
    str | None,
    option(
        FINDING,
        "Which faces: all, largest, or numbers from the left such as 0,2.",
        show_default="all; align into one file: largest",
        callback=face_choice,
    ),
]
Detector = Annotated[Literal["dlib", "retinaface"], option(FINDING, "What finds the faces.")]


@dataclass(frozen=True)
class OneFile(FileOptions):
    """Where the one result goes and what is said about it."""

    output: Output = None
    force: Annotated[bool, option(FILES, "In a folder, overwrite a file that is not refacer's.", "--force")] = False
    report: Report = None
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False


@dataclass(frozen=True)
class Files(OneFile):
    """Where results go and what is said about them."""

    force: Annotated[
        bool, option(FILES, "In a folder: redo what is up to date, overwrite what is not refacer's.", "--force")
    ] = False
    fail_fast: FailFast = False


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run, and how it goes on."""

    output: Annotated[Path, option(FOLDER, "The run folder.", "-o", "--output", show_default=False)]
    resume: Annotated[
        str, option(FOLDER, "auto: go on from the last state; never: start anew; or a file in checkpoints/.")
    ] = "auto"
    dry_run: Annotated[bool, option(FOLDER, "Print the configuration and train nothing.", "--dry-run")] = False
    quiet: Annotated[bool, option(FOLDER, "Print only warnings and errors.", "-q", "--quiet")] = False


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
        option(FINDING, "Side of the crop in pixels.", min=16, max=4096, show_default="the pair's"),
    ] = Choices.size
    detector: Detector = Choices.detector
    min_size: Annotated[
        int,
        option(FINDING, "Ignore faces whose crop has a shorter side, in pixels.", min=1),
    ] = Choices.min_size


@dataclass(frozen=True)
class Inversion:
    """How codes are found."""

    inverter: Annotated[str, option(INVERSION, f"The way to a code: {', '.join(INVERTERS)}.")] = Choices.inverter
    steps: Annotated[
        int | None,
        option(
            INVERSION,
            f"Optimisation steps; the paper takes {ProjectOptions.steps}. 0: the encoder's code as it is.",
            min=0,
            show_default="the pair's",
        ),
    ] = Choices.steps
    lr: Annotated[
        float | None,
        option(INVERSION, "Learning rate.", min=0, show_default="the pair's"),
    ] = Choices.lr
    noise_weight: Annotated[float, option(INVERSION, "Weight of the noise regulariser (Eq. 4).", min=0)] = (
        Choices.noise_weight
    )
    prior: Annotated[
        float | None,
        option(INVERSION, "Weight of the latent prior; 0 is the paper's loss.", min=0, show_default="the pair's"),
    ] = Choices.prior
    init: Annotated[
        str | None,
        option(
            INVERSION,
            "Where to start: mean, encoder (the pair's), or a .npy file of one code.",
            show_default="encoder where the pair has one, else mean",
        ),
    ] = None
    axes: Annotated[
        Axes | None,
        option(
            INVERSION,
            "Adam moves a code's own numbers (codes: published), or along the axes of its styles, in fewer steps.",
            show_default="the pair's",
        ),
    ] = Choices.axes
    batch: Annotated[int, option(INVERSION, "Faces projected at once.", min=1)] = Choices.batch
    perceptual: Annotated[
        Perception,
        option(INVERSION, "Distance of Eq. 4: lpips, or the pair's own; auto: lpips if installed."),
    ] = Choices.perceptual
    precision: Annotated[
        Precision,
        option(INVERSION, "Of the optimisation; bfloat16 is faster on GPUs and on CPUs made for it."),
    ] = Choices.precision


@dataclass(frozen=True)
class Decoding:
    """How codes are drawn."""

    generator: Annotated[
        Path | None,
        option(DECODING, "A generator file in place of the pair's.", callback=existing_file, show_default=False),
    ] = None
    noise: Annotated[NoiseMode, option(DECODING, "The generator's noise maps.")] = Choices.noise
    psi: Annotated[
        float | None,
        option(DECODING, "Truncation towards the mean face; 1 is none.", min=-2, max=2, show_default="the pair's"),
    ] = Choices.psi


@dataclass(frozen=True)
class Parsing:
    """Which parts are pasted, and as what."""

    paste: Annotated[
        Paste | None,
        option(
            PASTING,
            "change: keep the picture's pixels and change their look; face: paste the new face (Eq. B1); "
            "auto: the face where the rendering matches, the change elsewhere.",
            show_default="the pair's",
        ),
    ] = Choices.paste
    classes: Annotated[
        str | None,
        option(
            PASTING,
            "Parts of the face that make the mask, with commas between them.",
            show_default=f"{','.join(PASTED_CLASSES)}; for a change neck, too",
        ),
    ] = Choices.classes
    parser: Annotated[
        ParserChoice,
        option(PASTING, "What finds the parts; auto: the pair's, else bisenet if installed."),
    ] = Choices.parser


@dataclass(frozen=True)
class Pasting:
    """How a face is blended in."""

    erode: Annotated[
        float,
        option(PASTING, "Erosion of the mask, as a fraction of the crop's side.", min=0, max=1),
    ] = Choices.erode
    feather: Annotated[
        float,
        option(PASTING, "Softness of its edge, as a fraction of the crop's side.", min=0, max=1),
    ] = Choices.feather
    color: Annotated[
        Literal["none", "lab"] | None,
        option(
            PASTING,
            "Match a pasted face's colours to the picture's; keep part of a change's tint away.",
            show_default="lab; none for what was translated",
        ),
    ] = Choices.color
    strength: Annotated[
        float | None,
        option(PASTING, "Strength of the change.", min=0, max=10, show_default="the pair's"),
    ] = Choices.strength
