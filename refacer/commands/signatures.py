"""What users type: each stage's name, help and options. The module of the same name works, imported when called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from refacer.commands.groups import with_groups
from refacer.commands.shared import (
    AlignFlags,
    Common,
    CompositeFlags,
    DecodeFlags,
    Inputs,
    ParseFlags,
    ProjectFlags,
    existing,
)
from refacer.options import DecodeOptions, GeneratorRole, ProjectOptions


def register(app: typer.Typer) -> None:
    """Add the stages' commands to the program."""
    for command, example in EXAMPLES.items():
        app.command(epilog=f"Example: {example}")(with_groups(command))


def run(
    aligning: AlignFlags,
    projecting: ProjectFlags,
    decoding: DecodeFlags,
    parsing: ParseFlags,
    blending: CompositeFlags,
    common: Common,
    inputs: Inputs = None,
    mask: Annotated[Literal["auto", "none"], typer.Option(help="Paste the parsed parts, or the whole crop.")] = "auto",
    keep_stages: Annotated[Path | None, typer.Option(help="Folder for every stage's files.", file_okay=False)] = None,
) -> None:
    """Give the faces in pictures a photo-realistic look; everything else stays as it is."""
    from refacer.jobs.run import RunFlags, main

    main(inputs, RunFlags(aligning, projecting, decoding, parsing, blending, mask, keep_stages), common)


def align(aligning: AlignFlags, common: Common, inputs: Inputs = None) -> None:
    """Cut the faces out of pictures as FFHQ does; where a face came from travels inside its PNG."""
    from refacer.jobs.align import main

    main(inputs, aligning, common)


def project(
    projecting: ProjectFlags,
    common: Common,
    inputs: Inputs = None,
    into: Annotated[GeneratorRole, typer.Option(help="Which generator of the pair is inverted.")] = ProjectOptions.into,
    trace: Annotated[Path | None, typer.Option(help="Write a line of JSON per face and step.")] = None,
) -> None:
    """Find the W+ code of aligned faces."""
    from refacer.jobs.project import main

    main(inputs, projecting, into, trace, common)


def decode(
    decoding: DecodeFlags,
    common: Common,
    inputs: Inputs = None,
    into: Annotated[GeneratorRole, typer.Option(help="Which generator of the pair draws.")] = DecodeOptions.into,
) -> None:
    """Draw W+ codes with the realistic generator."""
    from refacer.jobs.decode import main

    main(inputs, decoding, into, common)


def parse(
    parsing: ParseFlags,
    common: Common,
    inputs: Inputs = None,
    labels: Annotated[bool, typer.Option("--labels", help="Write all 19 classes as a palette PNG.")] = False,
) -> None:
    """Find the parts of aligned faces that are pasted."""
    from refacer.jobs.parse import main

    main(inputs, parsing, labels, common)


def composite(
    target: Annotated[
        list[Path],
        typer.Argument(metavar="TARGET [FACE]...", help="The picture, then faces (none: stdin).", callback=existing),
    ],
    parsing: ParseFlags,
    blending: CompositeFlags,
    common: Common,
    mask: Annotated[
        list[str] | None, typer.Option(help="A file for each face in order, or auto, or none.", show_default="auto")
    ] = None,
    place: Annotated[
        list[Path] | None, typer.Option("--align", help="Take the place from this face or sidecar.", callback=existing)
    ] = None,
    allow_mismatch: Annotated[bool, typer.Option("--allow-mismatch", help="Paste into another picture too.")] = False,
) -> None:
    """Put faces back into the picture they were cut from (Eq. B1)."""
    from refacer.jobs.composite import Placing, main

    placing = Placing(tuple(mask or ("auto",)), tuple(place or ()), allow_mismatch)
    main(target[0], target[1:], placing, parsing, blending, common)


EXAMPLES: dict[Callable[..., None], str] = {
    run: "refacer run shots/ -o out/ --report out/report.ndjson",
    align: "refacer align look.png -o face.png",
    project: "refacer project face.png -o codes.npy",
    decode: "refacer decode codes.npy -o real.png",
    parse: "refacer parse real.png -o mask.png",
    composite: "refacer composite look.png real.png --mask mask.png -o look.real.png",
}
