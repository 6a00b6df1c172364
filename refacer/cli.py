"""The Typer app: registers the commands. `main` is the one place that turns errors into a line and an exit code.

Nothing here imports torch, numpy, cv2, PIL or dlib, so that `--help` and completion are quick.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from refacer import __version__, console, interruption
from refacer.commands import (
    align,
    compare,
    composite,
    dataset,
    decode,
    distill,
    eval,
    finetune,
    parse,
    project,
    run,
    sdedit,
    study,
    train_encoder,
    translate,
    weights,
)
from refacer.commands.groups import add_command
from refacer.errors import RefacerError, RefacerWarning

app = typer.Typer(
    name="refacer",
    help="Photo-realistic faces for rendered avatars in garment display images.",
    epilog="Example: refacer run look.png -o look.real.png",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module, function in (
    (run, run.run),
    (align, align.align),
    (project, project.project),
    (decode, decode.decode),
    (translate, translate.translate),
    (parse, parse.parse),
    (composite, composite.composite),
    (finetune, finetune.finetune),
    (distill, distill.distill),
    (train_encoder, train_encoder.train_encoder),
    (dataset, dataset.dataset),
    (eval, eval.eval),
    (compare, compare.compare),
    (sdedit, sdedit.sdedit),
):
    add_command(app, function, module.EXAMPLE)
study.register(app)
weights.register(app)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Photo-realistic faces for rendered avatars in garment display images."""
    if version:
        console.payload_text(f"refacer {__version__}")
        raise typer.Exit


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with the exit codes of refacer/errors.py, 130, 141 or 143."""
    console.open_streams()
    interruption.listen()
    code = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", RefacerWarning)
            warnings.showwarning = console.warning_shower()
            app(args, prog_name="refacer")
    except SystemExit as stop:
        code = _exit_code(stop)
    except Exception as error:
        code = 1 if interruption.code() else _report(error)
    if code and (code := interruption.code() or code) == interruption.INTERRUPTED:
        console.note("interrupted; nothing is half-written")
    sys.exit(code)


def _exit_code(stop: SystemExit) -> int:
    """The code of a finished command; Typer's own writes to a closed pipe become 141."""
    if isinstance(stop.__context__, BrokenPipeError):
        return _close_pipe()
    return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _report(error: Exception) -> int:
    """Print an error as one line, a bug of ours with its traceback; returns the exit code."""
    if isinstance(error, console.ClosedPipeError):
        return _close_pipe()
    error = console.worded(error)
    console.error(error)
    return error.exit_code if isinstance(error, RefacerError) else 1


def _close_pipe() -> int:
    """Leave silently: what stdout still holds goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return console.ClosedPipeError.exit_code
