from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from refacer.commands.groups import with_groups


@dataclass(frozen=True)
class Size:
    """Two options."""

    width: Annotated[int, typer.Option(help="How wide.")] = 3
    deep: Annotated[bool, typer.Option("--deep")] = False


def measure(size: Size, times: int = 2) -> None:
    """Say a size."""
    typer.echo(f"{size.width * times} {size.deep}")


def test_the_fields_of_a_group_are_options():
    app = typer.Typer()
    app.command()(with_groups(measure))
    runner = CliRunner()
    assert runner.invoke(app, []).output == "6 False\n"
    assert runner.invoke(app, ["--width", "5", "--deep", "--times", "3"]).output == "15 True\n"
    described = runner.invoke(app, ["--help"]).output
    assert "How wide." in described
    assert "Say a size." in described
