"""`refacer finetune`: learn a rendering style, or train a base from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from refacer.commands.groups import add_command
from refacer.options import DEFAULT_PAIR, SCRATCH, FinetuneOptions, NetworkOptions

FOLDER, NETWORKS, SCHEDULE = "Pictures and run folder", "Networks", "Schedule"
LOSSES, AUGMENTATION, MACHINE = "Losses", "Augmentation", "Machine"
PAPER, FULL = FinetuneOptions, NetworkOptions
ADA_KIMG = f"{PAPER.ada_kimg:g}, from scratch {SCRATCH['ada_kimg']:g}"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    add_command(app, finetune, "refacer finetune drfhq/ -o runs/a")


def _option(panel: str, help: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    base: Annotated[
        str | None,
        _option(NETWORKS, "Pair or base to start from.", show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}"),
    ] = None
    from_scratch: Annotated[bool, _option(NETWORKS, "Train a base, not a style.", "--from-scratch")] = False
    resolution: Annotated[
        int | None, _option(NETWORKS, "From scratch: pixels a side.", show_default="the base's, else 1024")
    ] = None


@dataclass(frozen=True)
class Sizes:
    """Of networks from scratch; the names are those of NetworkOptions."""

    channel_base: Annotated[int, _option(NETWORKS, "From scratch: channels times resolution.")] = FULL.channel_base
    channel_max: Annotated[int, _option(NETWORKS, "From scratch: most channels.")] = FULL.channel_max
    z_dim: Annotated[int, _option(NETWORKS, "From scratch: length of z.")] = FULL.z_dim
    w_dim: Annotated[int, _option(NETWORKS, "From scratch: length of w.")] = FULL.w_dim
    mapping_layers: Annotated[int, _option(NETWORKS, "From scratch: layers from z to w.")] = FULL.mapping_layers


@dataclass(frozen=True)
class Method:
    """How it is trained; the names are those of FinetuneOptions. None: as there, or as SCRATCH has it."""

    kimg: Annotated[float, _option(SCHEDULE, "Thousands of real images to see in all.", min=0)] = PAPER.kimg
    batch: Annotated[int, _option(SCHEDULE, "Images an iteration, on all devices together.", min=1)] = PAPER.batch
    lr: Annotated[float, _option(SCHEDULE, "Learning rate of both networks.", min=0)] = PAPER.lr
    ema_kimg: Annotated[float, _option(SCHEDULE, "Half-life of the averaged generator, kimg.", min=0)] = PAPER.ema_kimg
    tick_kimg: Annotated[float, _option(SCHEDULE, "kimg between checkpoints.", "--tick", min=0.001)] = PAPER.tick_kimg
    gamma: Annotated[float, _option(LOSSES, "Weight of R1.", min=0)] = PAPER.gamma
    pl_weight: Annotated[float, _option(LOSSES, "Weight of path length; 0 leaves it out.", min=0)] = PAPER.pl_weight
    sketch_weight: Annotated[
        float | None, _option(LOSSES, "lambda_s of Eq. 3, of the sketch loss.", min=0, show_default="5e-6")
    ] = None
    color_weight: Annotated[
        float | None, _option(LOSSES, "lambda_c of Eq. 3, of the colour loss.", min=0, show_default="3750")
    ] = None
    range_faces: Annotated[int, _option(SCHEDULE, "Pictures projected at the end for the pair's range.", min=0)] = 0
    aug: Annotated[
        Literal["ada", "fixed", "none"], _option(AUGMENTATION, "Augmentation of what the discriminator sees.")
    ] = PAPER.aug
    aug_p: Annotated[
        float, _option(AUGMENTATION, "Its probability: at the start (ada) or throughout (fixed).", min=0, max=1)
    ] = PAPER.aug_p
    ada_kimg: Annotated[
        float | None, _option(AUGMENTATION, "kimg in which ada moves it by 1.", min=0.001, show_default=ADA_KIMG)
    ] = None
    mirror: Annotated[bool, _option(AUGMENTATION, "Train on mirrored pictures too.")] = PAPER.mirror
    jitter: Annotated[
        float, _option(AUGMENTATION, "Shift and scale real pictures by up to this fraction.", min=0, max=0.5)
    ] = PAPER.jitter
    batch_gpu: Annotated[
        int | None, _option(MACHINE, "Images a device computes at once.", min=1, show_default="its share of the batch")
    ] = None
    accumulate: Annotated[int, _option(MACHINE, "Rounds that a batch is split into.", min=1)] = PAPER.accumulate
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], _option(MACHINE, "Of the convolutions; auto: bfloat16 on CUDA.")
    ] = PAPER.precision
    compile: Annotated[
        bool, _option(MACHINE, "Compile the networks (torch.compile): minutes first, then faster.", "--compile")
    ] = PAPER.compile
    deterministic: Annotated[bool, _option(MACHINE, "Bit-equal runs on the CPU; slower.", "--deterministic")] = False
    seed: Annotated[int, _option(MACHINE, "Seed of everything random.", min=0)] = PAPER.seed


def finetune(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="FACES", help="Folders or zips of aligned faces (`refacer dataset`, `align`).", show_default=False
        ),
    ],
    output: Annotated[Path, _option(FOLDER, "The run folder.", "-o", "--output", show_default=False)],
    start: Start,
    sizes: Sizes,
    method: Method,
    resume: Annotated[
        str, _option(FOLDER, "auto: go on from the last state; never: start anew; or a file in checkpoints/.")
    ] = "auto",
    dry_run: Annotated[bool, _option(FOLDER, "Print the configuration and train nothing.", "--dry-run")] = False,
    quiet: Annotated[bool, _option(FOLDER, "Print only warnings and errors.", "-q", "--quiet")] = False,
    device: Annotated[str, _option(MACHINE, "Where networks run: auto, cpu, cuda[:N] or mps.")] = "auto",
) -> None:
    """Learn a rendering style from aligned faces, or train a base from scratch. The same command again goes on.

    Defaults are the paper's. The run folder becomes a pair: refacer run look.png --pair RUN.

    On several GPUs: torchrun --nproc-per-node N -m refacer finetune ...
    """
    from refacer.finetuning.run import Training
    from refacer.finetuning.style import StyleRecipe

    typed = {name: value for name, value in vars(method).items() if value is not None}
    options = FinetuneOptions(**{**(SCRATCH if start.from_scratch else {}), **typed})
    recipe = StyleRecipe(data, start.base, options, NetworkOptions(**vars(sizes)), start.resolution, device)
    training = Training(recipe, output, quiet=quiet)
    training.show() if dry_run else training.go(resume)
