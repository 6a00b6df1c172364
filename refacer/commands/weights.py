"""`refacer weights`: the options of its commands; the work is in jobs/weights.py and jobs/licences.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

weights = typer.Typer(
    help="List, download, check and remove networks that others published; show their licences.",
    epilog="Example: refacer weights pull ffhq bisenet vgg16",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(weights, name="weights")


Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names, as `list` shows them.", show_default=False)]
SomeNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Names; without one, all installed.", show_default=False),
]
Accept = Annotated[bool, typer.Option("--accept-licence", help="Accept the licences without being asked.")]
Force = Annotated[bool, typer.Option("--force", help="Install again, in place of what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]


@weights.command("list", epilog="Example: refacer weights list --json")
def list_(json: Json = False) -> None:
    """List every known weight: whether it is installed, its size, its use, its licence."""
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
    """Download weights, check their sha256 and convert them; after an interruption the same command goes on."""
    from refacer.jobs.weights import pull_all

    pull_all(names, accept=accept_licence, force=force, offline=offline, quiet=quiet)


@weights.command("import", epilog="Example: refacer weights import Downloads/ffhq.pkl")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A weight file on this machine.", exists=True, dir_okay=False, show_default=False)
    ],
    as_: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="A name of `list`, or one of your own.",
            show_default="by its sha256",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Install a weight file that you have: without a network, or of your own."""
    from refacer.jobs.weights import import_one

    import_one(file, as_, force=force, quiet=quiet)


@weights.command(epilog="Example: refacer weights verify")
def verify(names: SomeNames = None) -> None:
    """Check that weights are still what was installed, by their sha256."""
    from refacer.jobs.weights import verify_all

    verify_all(names or [])


@weights.command(epilog="Example: refacer weights where ffhq")
def where(
    name: Annotated[str | None, typer.Argument(help="A weight; without one, all.", show_default=False)] = None,
) -> None:
    """Print the folder of a weight, or of all; the variable REFACER_HOME moves it."""
    from refacer.jobs.weights import show_where

    show_where(name)


@weights.command(epilog="Example: refacer weights rm ffhq")
def rm(names: Names, quiet: Quiet = False) -> None:
    """Remove weights and unfinished downloads of them."""
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
    """Print the licences of every weight that a pair uses, or of one weight, and whether commercial use is allowed."""
    from refacer.jobs.licences import show_licence

    show_licence(name, json)
