"""`refacer weights`: the options of its commands; the work is in jobs/weights.py and jobs/licences.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

weights = typer.Typer(
    help="The weights of others: list, download, check and remove them; under which licence they are.",
    epilog="Example: refacer weights pull ffhq bisenet vgg16",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(weights, name="weights")


Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Weights, as in `list`.", show_default=False)]
SomeNames = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Weights; none: all installed.", show_default=False)
]
Accept = Annotated[bool, typer.Option("--accept-licence", help="Accept their licences without being asked.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is installed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]


@weights.command("list", epilog="Example: refacer weights list --json")
def list_(json: Json = False) -> None:
    """List what is known and what is installed: size, role, commercial use, licence."""
    from refacer.jobs.weights import show_list

    show_list(json)


@weights.command(epilog="Example: refacer weights pull ffhq bisenet --accept-licence")
def pull(
    names: Names,
    accept_licence: Accept = False,
    force: Force = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Download weights, check their hash and convert them; the same command again goes on where it stopped."""
    from refacer.jobs.weights import pull_all

    pull_all(names, accept=accept_licence, force=force, offline=offline, quiet=quiet)


@weights.command("import", epilog="Example: refacer weights import Downloads/ffhq.pkl")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A file that is here already.", exists=True, dir_okay=False, show_default=False)
    ],
    as_: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="A name of `list`, or one of your own.", show_default="by its sha256"
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Install a file by hand, for machines without a network and for weights of your own."""
    from refacer.jobs.weights import import_one

    import_one(file, as_, force=force, quiet=quiet)


@weights.command(epilog="Example: refacer weights verify")
def verify(names: SomeNames = None) -> None:
    """Hash what is installed again, and what comes with packages."""
    from refacer.jobs.weights import verify_all

    verify_all(names or [])


@weights.command(epilog="Example: refacer weights where ffhq")
def where(
    name: Annotated[str | None, typer.Argument(help="A weight; none: the folder of all.", show_default=False)] = None,
) -> None:
    """Print where weights are; REFACER_HOME moves them."""
    from refacer.jobs.weights import show_where

    show_where(name)


@weights.command(epilog="Example: refacer weights rm ffhq")
def rm(names: Names, quiet: Quiet = False) -> None:
    """Remove weights, and what was downloaded of them so far."""
    from refacer.jobs.weights import remove_all

    remove_all(names, quiet=quiet)


@weights.command(epilog="Example: refacer weights licence runs/a")
def licence(
    name: Annotated[
        str | None,
        typer.Argument(metavar="PAIR|NAME", help="A pair, its folder, or a weight.", show_default="the default pair"),
    ] = None,
    json: Json = False,
) -> None:
    """Print the licences of all that a pair uses, or of one weight, and whether commercial use is allowed."""
    from refacer.jobs.licences import show_licence

    show_licence(name, json)
