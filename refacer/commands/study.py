"""`refacer study`: the options of its commands; the work is in studies/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import FILES, MaxPixels, Quiet, existing
from refacer.commands.groups import option
from refacer.options import AnalysisOptions, StudyForm, StudyOptions, StudyRule

ASKING, COUNTING, SERVING = "What is asked", "Counting", "Serving"

study = typer.Typer(
    help="Ask people which pictures look more real, blind, and count their votes.",
    epilog="Example: refacer study make compared/ -o study/",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(study, name="study")


@study.command(epilog="Example: refacer study make compared/ -o study/ --cases 10")
def make(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="What `refacer compare` wrote, or a folder for each method.", show_default=False
        ),
    ],
    output: Annotated[Path, option(FILES, "The study's folder.", "--output", "-o", show_default=False)],
    methods: Annotated[
        str | None, option(ASKING, "Methods, with commas between them.", show_default="all that are there")
    ] = None,
    focal: Annotated[
        str | None,
        option(ASKING, "The method that is compared with the others.", show_default="ours, else the first"),
    ] = None,
    form: Annotated[
        StudyForm, option(ASKING, "pairs: --focal beside one other; all: every method at once, as the paper's Fig. 6.")
    ] = StudyOptions.form,
    cases: Annotated[int, option(ASKING, "Faces, drawn by --seed; the paper takes 10.", min=1)] = StudyOptions.cases,
    question: Annotated[str, option(ASKING, "What is asked of each set of pictures.")] = StudyOptions.question,
    show_input: Annotated[bool, option(ASKING, "Show the input beside the pictures.", "--show-input")] = False,
    common: Annotated[bool, option(ASKING, "Leave out faces that a method lacks.", "--common")] = False,
    obvious_wrong: Annotated[
        int, option(ASKING, "Leave out who answers more of the two obvious questions wrongly.", min=0, max=2)
    ] = StudyRule.obvious_wrong,
    least_median_ms: Annotated[
        int, option(ASKING, "Leave out whose median answer is quicker, in milliseconds.", min=0)
    ] = StudyRule.least_median_ms,
    least_answered_percent: Annotated[
        int, option(ASKING, "Leave out who answers a smaller part of the questions.", min=0, max=100)
    ] = StudyRule.least_answered_percent,
    size: Annotated[
        int | None,
        option(FILES, "Side of all pictures in pixels.", min=16, max=4096, show_default="the smallest's, at most 512"),
    ] = None,
    seed: Annotated[int, option(ASKING, "Seed of the faces drawn and of the short names.", min=0)] = StudyOptions.seed,
    max_pixels: MaxPixels = StudyOptions.max_pixels,
    force: Annotated[bool, option(FILES, "Write into a folder that holds no study.", "--force")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a blind study of several methods' pictures: one web page, which works from a file or any server.

    Each person's order and sides are drawn from a random number, which is in the votes. Who is left out is fixed here.
    """
    from refacer.studies.make import make_study

    options = StudyOptions(
        methods=tuple(name.strip() for name in methods.split(",")) if methods else (),
        focal=focal,
        form=form,
        cases=cases,
        question=question,
        show_input=show_input,
        common=common,
        size=size,
        seed=seed,
        rule=StudyRule(obvious_wrong, least_median_ms, least_answered_percent),
        max_pixels=max_pixels,
    )
    make_study(source, output, options, force=force, quiet=quiet)


@study.command(epilog="Example: refacer study serve study/")
def serve(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="A study's folder.", show_default=False)],
    host: Annotated[
        str, option(SERVING, "Address to listen at; others than this machine's are open to all.")
    ] = "127.0.0.1",
    port: Annotated[int, option(SERVING, "Port; 0 is any that is free.", min=0, max=65535)] = 8000,
    quiet: Quiet = False,
) -> None:
    """Show a study's page in browsers and collect the votes in STUDY/votes/votes.jsonl, until interrupted.

    Each vote is on the disk before the page is told so; killing the server loses none.
    """
    from refacer.studies.serve import serve_study

    serve_study(folder, host, port, quiet=quiet)


@study.command(epilog="Example: refacer study analyse study/votes -o study/result")
def analyse(
    votes: Annotated[
        list[Path],
        typer.Argument(
            metavar="VOTES", help="Files of votes, or folders of them.", callback=existing, show_default=False
        ),
    ],
    folder: Annotated[
        Path | None,
        option(FILES, "The study's folder, which knows the methods' names.", "--study", show_default="where VOTES lie"),
    ] = None,
    output: Annotated[Path | None, option(FILES, "Folder for analysis.json and figure.svg.", "--output", "-o")] = None,
    alpha: Annotated[
        float, option(COUNTING, "Level of tests and intervals.", min=0.0001, max=0.5)
    ] = AnalysisOptions.alpha,
    bootstrap: Annotated[
        int, option(COUNTING, "Replicates over people and faces; 0 is none.", min=0)
    ] = AnalysisOptions.bootstrap,
    ridge: Annotated[
        float, option(COUNTING, "What keeps the choice model's strengths finite.", min=0.000001)
    ] = AnalysisOptions.ridge,
    seed: Annotated[int, option(COUNTING, "Seed of the bootstrap.", min=0)] = AnalysisOptions.seed,
    json: Annotated[bool, option(FILES, "Print the figures to stdout.", "--json")] = False,
    quiet: Quiet = False,
) -> None:
    """Count votes: per person and pooled, against each method and all together; from the votes alone.

    Lines that cannot be counted are named and left out; votes of another study are refused.
    """
    from refacer.studies.report import report

    options = AnalysisOptions(alpha, bootstrap, ridge, seed)
    report(votes, folder, options, output=output, as_json=json, quiet=quiet)
