"""`refacer finetune`: learn a rendering style, or train a base from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from refacer.commands.flags import MACHINE, DeviceName, RunFolder, existing_file
from refacer.commands.groups import option
from refacer.options import DEFAULT_PAIR, RULE_DEFAULTS, RULES, SCRATCH, FinetuneOptions, NetworkOptions

EXAMPLE = "refacer finetune drfhq/ -o runs/a"
NETWORKS, RULE, SCHEDULE = "Networks", "Rule", "Schedule"
LOSSES, AUGMENTATION = "Losses", "Augmentation"
PAPER, FULL = FinetuneOptions, NetworkOptions
ADA_KIMG = f"{PAPER.ada_kimg:g}, from scratch {SCRATCH['ada_kimg']:g}"


def by_rule(name: str) -> str:
    """A default that differs between rules, in words."""
    own = [f"{rule} {_said(values[name])}" for rule, values in RULE_DEFAULTS.items() if name in values]
    return ", ".join([_said(getattr(PAPER, name)), *own])


def _said(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


@dataclass(frozen=True)
class RuleChoice:
    """How the copy is to differ from its source."""

    rule: Annotated[
        str, option(RULE, f"What is trained, and by which losses: {', '.join(RULES)}; nada is by text (CLIP).")
    ] = PAPER.rule
    text: Annotated[str | None, option(RULE, "nada: what the copy is to draw.", show_default="Rendered avatar")] = None
    source_text: Annotated[str | None, option(RULE, "nada: what the source draws.", show_default="Photo")] = None
    vocabulary: Annotated[
        Path | None,
        option(RULE, "nada: CLIP's merges.txt, to read a text.", callback=existing_file, show_default=False),
    ] = None
    direction: Annotated[
        Path | None,
        option(RULE, "nada: another run's direction.safetensors.", callback=existing_file, show_default=False),
    ] = None


@dataclass(frozen=True)
class Start:
    """What training starts from."""

    base: Annotated[
        str | None,
        option(NETWORKS, "Pair or base to start from.", show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}"),
    ] = None
    init: Annotated[
        Literal["real", "rendering"],
        option(NETWORKS, "Which of the pair's generators is copied: rendering goes on with the pair's own style."),
    ] = PAPER.init
    from_scratch: Annotated[bool, option(NETWORKS, "Train a base, not a style.", "--from-scratch")] = False
    resolution: Annotated[
        int | None, option(NETWORKS, "From scratch: pixels a side.", show_default="the base's, else 1024")
    ] = None


@dataclass(frozen=True)
class Sizes:
    """Of networks from scratch; the names are those of NetworkOptions."""

    channel_base: Annotated[int, option(NETWORKS, "From scratch: channels times resolution.")] = FULL.channel_base
    channel_max: Annotated[int, option(NETWORKS, "From scratch: most channels.")] = FULL.channel_max
    z_dim: Annotated[int, option(NETWORKS, "From scratch: length of z.")] = FULL.z_dim
    w_dim: Annotated[int, option(NETWORKS, "From scratch: length of w.")] = FULL.w_dim
    mapping_layers: Annotated[int, option(NETWORKS, "From scratch: layers from z to w.")] = FULL.mapping_layers


@dataclass(frozen=True)
class Method:
    """How it is trained; the names are those of FinetuneOptions. None: as there, or as SCRATCH has it."""

    kimg: Annotated[
        float | None, option(SCHEDULE, "Thousands of images to see in all.", min=0, show_default=by_rule("kimg"))
    ] = None
    batch: Annotated[
        int | None,
        option(SCHEDULE, "Images an iteration, on all devices together.", min=1, show_default=by_rule("batch")),
    ] = None
    lr: Annotated[
        float | None, option(SCHEDULE, "Learning rate of both networks.", min=0, show_default=by_rule("lr"))
    ] = None
    ema_kimg: Annotated[
        float | None,
        option(SCHEDULE, "Half-life of the averaged generator, kimg.", min=0, show_default=by_rule("ema_kimg")),
    ] = None
    tick_kimg: Annotated[float, option(SCHEDULE, "kimg between checkpoints.", "--tick", min=0.001)] = PAPER.tick_kimg
    gamma: Annotated[float, option(LOSSES, "Weight of R1.", min=0)] = PAPER.gamma
    pl_weight: Annotated[
        float | None,
        option(LOSSES, "Weight of path length; 0 leaves it out.", min=0, show_default=by_rule("pl_weight")),
    ] = None
    sketch_weight: Annotated[
        float | None, option(LOSSES, "lambda_s of Eq. 3, of the sketch loss.", min=0, show_default="5e-6")
    ] = None
    color_weight: Annotated[
        float | None, option(LOSSES, "lambda_c of Eq. 3, of the colour loss.", min=0, show_default="3750")
    ] = None
    range_faces: Annotated[int, option(SCHEDULE, "Pictures projected at the end for the pair's range.", min=0)] = 0
    aug: Annotated[
        Literal["ada", "fixed", "none"] | None,
        option(AUGMENTATION, "Augmentation of what the discriminator sees.", show_default=by_rule("aug")),
    ] = None
    aug_p: Annotated[
        float, option(AUGMENTATION, "Its probability: at the start (ada) or throughout (fixed).", min=0, max=1)
    ] = PAPER.aug_p
    ada_kimg: Annotated[
        float | None, option(AUGMENTATION, "kimg in which ada moves it by 1.", min=0.001, show_default=ADA_KIMG)
    ] = None
    mirror: Annotated[bool, option(AUGMENTATION, "Train on mirrored pictures too.")] = PAPER.mirror
    jitter: Annotated[
        float, option(AUGMENTATION, "Shift and scale real pictures by up to this fraction.", min=0, max=0.5)
    ] = PAPER.jitter
    batch_gpu: Annotated[
        int | None, option(MACHINE, "Images a device computes at once.", min=1, show_default="its share of the batch")
    ] = None
    accumulate: Annotated[int, option(MACHINE, "Rounds that a batch is split into.", min=1)] = PAPER.accumulate
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], option(MACHINE, "Of the convolutions; auto: bfloat16 on CUDA.")
    ] = PAPER.precision
    compile: Annotated[
        bool, option(MACHINE, "Compile the networks (torch.compile): minutes first, then faster.", "--compile")
    ] = PAPER.compile
    deterministic: Annotated[bool, option(MACHINE, "Bit-equal runs on the CPU; slower.", "--deterministic")] = False
    seed: Annotated[int, option(MACHINE, "Seed of everything random.", min=0)] = PAPER.seed


def finetune(
    start: Start,
    rule: RuleChoice,
    sizes: Sizes,
    method: Method,
    folder: RunFolder,
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FACES",
            help="Folders or zips of aligned faces (`refacer dataset`, `align`); nada by text needs none.",
            show_default=False,
        ),
    ] = None,
    device: DeviceName = "auto",
) -> None:
    """Learn a rendering style from aligned faces, or train a base from scratch. The same command again goes on.

    Defaults are the paper's. The run folder becomes a pair: refacer run look.png --pair RUN.

    On several GPUs: torchrun --nproc-per-node N -m refacer finetune ...
    """
    from refacer.finetuning.rules.rule import TextFiles
    from refacer.finetuning.run import Training
    from refacer.finetuning.style import StyleRecipe

    typed = {name: value for name, value in vars(method).items() if value is not None}
    typed |= {"init": start.init, "rule": rule.rule, "text": rule.text, "source_text": rule.source_text}
    own = SCRATCH if start.from_scratch else RULE_DEFAULTS.get(rule.rule, {})
    options = FinetuneOptions(**{**own, **typed})
    files = TextFiles(rule.direction, rule.vocabulary)
    recipe = StyleRecipe(
        data or [], start.base, options, NetworkOptions(**vars(sizes)), start.resolution, device, files
    )
    training = Training(recipe, folder.output, quiet=folder.quiet)
    training.show() if folder.dry_run else training.go(folder.resume)
