"""The options that commands share; the defaults are those of refacer/options.py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from refacer.errors import UsageError
from refacer.options import (
    DEFAULT_PAIR,
    MAX_PIXELS,
    PASTED_CLASSES,
    PROJECT_BATCH,
    AlignOptions,
    CompositeOptions,
    DecodeOptions,
    NoiseMode,
    ParseOptions,
    ParserChoice,
    Perception,
    ProjectOptions,
)

COMMON = "Common options"


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


@dataclass(frozen=True)
class Common:
    """What every command takes."""

    output: Annotated[
        str | None, typer.Option("--output", "-o", help="A file, a folder, or - for stdout.", rich_help_panel=COMMON)
    ] = None
    pair: Annotated[
        str | None,
        typer.Option(
            help="Pair of generators: a name or a folder.",
            show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}",
            rich_help_panel=COMMON,
        ),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda[:N] or mps.", rich_help_panel=COMMON)] = "auto"
    seed: Annotated[int, typer.Option(min=0, help="Of all noise.", rich_help_panel=COMMON)] = ProjectOptions.seed
    force: Annotated[
        bool, typer.Option("--force", help="Redo what is up to date; overwrite in folders.", rich_help_panel=COMMON)
    ] = False
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first bad input.", rich_help_panel=COMMON)
    ] = False
    report: Annotated[
        Path | None, typer.Option(help="Write a line of JSON per item and a summary.", rich_help_panel=COMMON)
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print the report to stdout as one JSON object.", rich_help_panel=COMMON)
    ] = False
    max_pixels: Annotated[int, typer.Option(min=1, help="Refuse larger pictures.", rich_help_panel=COMMON)] = MAX_PIXELS
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.", rich_help_panel=COMMON)] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", rich_help_panel=COMMON)] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="A line per item, and the licence in use.", rich_help_panel=COMMON)
    ] = False


@dataclass(frozen=True)
class AlignFlags:
    """How faces are found and cut."""

    faces: Annotated[
        str | None,
        typer.Option(
            help="all, largest, or numbers from the left: 0,2.",
            show_default="all; align into one file: largest",
            callback=face_choice,
        ),
    ] = None
    size: Annotated[
        int | None, typer.Option(min=16, max=4096, help="Of the crop, in pixels.", show_default="the pair's")
    ] = None
    detector: Annotated[Literal["dlib", "retinaface"], typer.Option(help="What finds the faces.")] = (
        AlignOptions.detector
    )
    min_size: Annotated[int, typer.Option(min=1, help="Ignore faces whose quad has a smaller side, in pixels.")] = (
        AlignOptions.min_size_px
    )

    def options(self) -> AlignOptions:
        """The stage's options."""
        return AlignOptions(size=self.size, detector=self.detector, min_size_px=self.min_size)


@dataclass(frozen=True)
class ProjectFlags:
    """How codes are found."""

    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"Of the inversion; the paper's: {ProjectOptions.steps}.", show_default="the pair's"),
    ] = None
    lr: Annotated[float | None, typer.Option(min=0, help="Learning rate.", show_default="the pair's")] = None
    noise_weight: Annotated[float, typer.Option(min=0, help="Weight of the noise regulariser.")] = (
        ProjectOptions.noise_weight
    )
    prior: Annotated[
        float | None,
        typer.Option(
            min=0, help="Weight of how unlike codes are those of random z; the paper's: 0.", show_default="the pair's"
        ),
    ] = None
    init: Annotated[str, typer.Option(help="Where to start: mean, or a .npy file of one code.")] = "mean"
    batch: Annotated[int, typer.Option(min=1, help="Faces projected at once.")] = PROJECT_BATCH
    perceptual: Annotated[
        Perception, typer.Option(help="Distance of Eq. 4: LPIPS-VGG, the pair's own; auto: LPIPS-VGG if installed.")
    ] = "auto"


@dataclass(frozen=True)
class DecodeFlags:
    """How codes are drawn."""

    generator: Annotated[
        Path | None,
        typer.Option(help="A generator file in place of the pair's.", callback=existing_file, show_default=False),
    ] = None
    noise: Annotated[NoiseMode, typer.Option(help="The noise maps.")] = DecodeOptions.noise_mode
    psi: Annotated[
        float | None,
        typer.Option(min=-2, max=2, help="Truncation towards the mean face; 1 is none.", show_default="the pair's"),
    ] = None


@dataclass(frozen=True)
class ParseFlags:
    """Which parts are pasted."""

    classes: Annotated[str, typer.Option(help="Parts that make the mask.")] = ",".join(PASTED_CLASSES)
    parser: Annotated[
        ParserChoice, typer.Option(help="What finds the parts; auto: the pair's, else bisenet if installed.")
    ] = "auto"

    def options(self) -> ParseOptions:
        """The stage's options; raises UsageError for a class that there is not."""
        from refacer.networks.parser import CLASS_IDS

        names = tuple(name.strip() for name in self.classes.split(","))
        for name in names:
            if name not in CLASS_IDS:
                raise UsageError(f"--classes {name}: not a class; choose among {', '.join(CLASS_IDS)}")
        return ParseOptions(names)


@dataclass(frozen=True)
class CompositeFlags:
    """How a face is blended in."""

    erode: Annotated[
        float, typer.Option(min=0, max=1, help="Erosion of the mask, as a fraction of the quad's side.")
    ] = CompositeOptions.erode_frac
    feather: Annotated[
        float, typer.Option(min=0, max=1, help="Softness of its edge, as a fraction of the quad's side.")
    ] = CompositeOptions.feather_frac
    color: Annotated[Literal["none", "lab"], typer.Option(help="Match the face's colours to the picture.")] = (
        CompositeOptions.color
    )

    def options(self) -> CompositeOptions:
        """The stage's options."""
        return CompositeOptions(self.erode, self.feather, self.color)
