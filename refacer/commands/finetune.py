"""`refacer finetune`: learn a rendering style, or train a base from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from refacer.options import DEFAULT_PAIR, SCRATCH, FinetuneOptions, NetworkOptions

_PAPER = FinetuneOptions()
_SIZES = NetworkOptions()

EXAMPLE = "Example: refacer finetune drfhq/ -o runs/a"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog=EXAMPLE)(finetune)


Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="FACES",
        help="Folders or zips of aligned faces (`refacer dataset`, `refacer align`).",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Option("-o", "--output", help="The run folder.", show_default=False)]
Precision = Literal["auto", "float32", "bfloat16"]
Aug = Literal["ada", "fixed", "none"]


def finetune(
    data: Data,
    output: Output,
    base: Annotated[
        str | None,
        typer.Option(
            help="Pair or from-scratch run to start from.", show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}"
        ),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train a base generator in place of a pair.")
    ] = False,
    resolution: Annotated[
        int | None, typer.Option(help="From scratch: pixels a side.", show_default="the base's, else 1024")
    ] = None,
    channel_base: Annotated[int, typer.Option(help="From scratch: channels times resolution.")] = _SIZES.channel_base,
    channel_max: Annotated[int, typer.Option(help="From scratch: most channels.")] = _SIZES.channel_max,
    z_dim: Annotated[int, typer.Option(help="From scratch: length of z.")] = _SIZES.z_dim,
    w_dim: Annotated[int, typer.Option(help="From scratch: length of w.")] = _SIZES.w_dim,
    mapping_layers: Annotated[int, typer.Option(help="From scratch: layers from z to w.")] = _SIZES.mapping_layers,
    kimg: Annotated[float, typer.Option(min=0, help="Thousands of real images to see.")] = _PAPER.kimg,
    batch: Annotated[int, typer.Option(min=1, help="Images an iteration, on all devices together.")] = _PAPER.batch,
    batch_gpu: Annotated[
        int | None, typer.Option(min=1, help="Images a device computes at once.", show_default="its share of the batch")
    ] = _PAPER.batch_gpu,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Rounds a batch is split into, to save memory.")
    ] = _PAPER.accumulate,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate of both networks.")] = _PAPER.lr,
    gamma: Annotated[float, typer.Option(min=0, help="R1 weight.")] = _PAPER.gamma,
    pl_weight: Annotated[float, typer.Option(min=0, help="Path-length weight; 0 leaves it out.")] = _PAPER.pl_weight,
    ema_kimg: Annotated[
        float, typer.Option(min=0, help="Half-life of the averaged generator, in kimg.")
    ] = _PAPER.ema_kimg,
    aug: Annotated[Aug, typer.Option(help="Augmentation of what the discriminator sees.")] = _PAPER.aug,
    aug_p: Annotated[
        float, typer.Option(min=0, max=1, help="Its probability: the start (ada) or for good (fixed).")
    ] = _PAPER.aug_p,
    ada_kimg: Annotated[
        float | None,
        typer.Option(min=0.001, help="kimg in which it can move by 1.", show_default="100, from scratch 500"),
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Also train on x-flipped pictures.")] = _PAPER.mirror,
    jitter: Annotated[
        float, typer.Option(min=0, max=0.5, help="Shift and scale real pictures by up to this fraction.")
    ] = _PAPER.jitter,
    sketch_weight: Annotated[float | None, typer.Option(min=0, help="lambda_s of Eq. 3.", show_default="5e-6")] = None,
    color_weight: Annotated[float | None, typer.Option(min=0, help="lambda_c of Eq. 3.", show_default="3750")] = None,
    precision: Annotated[
        Precision, typer.Option(help="Of the convolutions; auto: bfloat16 on CUDA.")
    ] = _PAPER.precision,
    compile: Annotated[
        bool, typer.Option("--compile", help="Let torch.compile fuse the networks: minutes first, then faster.")
    ] = _PAPER.compile,
    tick: Annotated[float, typer.Option(min=0.001, help="kimg between log lines and checkpoints.")] = _PAPER.tick_kimg,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Slower; bit-equal runs on the CPU.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = _PAPER.seed,
    resume: Annotated[
        str,
        typer.Option(help="auto: go on from the last state; never: start anew; or go on from a file in checkpoints/."),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the configuration; train nothing.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Learn a rendering style from aligned faces, or train a base from scratch. The same command again goes on.

    Defaults are the paper's. The run folder becomes a pair: refacer run look.png --pair RUN.

    On several GPUs: torchrun --nproc-per-node N -m refacer finetune ...
    """
    scratch = SCRATCH if from_scratch else {}
    chosen = {"ada_kimg": ada_kimg, "sketch_weight": sketch_weight, "color_weight": color_weight}
    options = FinetuneOptions(
        batch=batch, kimg=kimg, lr=lr, gamma=gamma, pl_weight=pl_weight, ema_kimg=ema_kimg, aug=aug, aug_p=aug_p,
        mirror=mirror, jitter=jitter, precision=precision, compile=compile, accumulate=accumulate,
        batch_gpu=batch_gpu, tick_kimg=tick, deterministic=deterministic, seed=seed,
        **{**scratch, **{name: value for name, value in chosen.items() if value is not None}},
    )  # fmt: skip
    sizes = {
        "channel_base": channel_base, "channel_max": channel_max, "z_dim": z_dim, "w_dim": w_dim,
        "mapping_layers": mapping_layers,
    }  # fmt: skip
    from refacer.finetuning.run import TrainingRun

    run = TrainingRun(data, output, base, resolution, sizes, options, device, quiet)
    run.show() if dry_run else run.go(resume)
