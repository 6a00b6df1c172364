"""`refacer distill`: train a pair's feed-forward network, with which faces need no inversion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from refacer.commands.flags import FOLDER, MACHINE, DeviceName, RunFolder
from refacer.commands.groups import option
from refacer.options import DEFAULT_PAIR, DistillOptions, Precision

EXAMPLE = "refacer distill renders.zip --photos photos.zip --pair runs/a -o runs/a-fast"
SCHEDULE, LOSSES = "Schedule", "Losses"
OWN = DistillOptions
LEAST_RANGE_FACES = 16


@dataclass(frozen=True)
class Method:
    """How it is trained; the names are those of DistillOptions."""

    kimg: Annotated[float, option(SCHEDULE, "Thousands of examples to see in all.", min=0.001)] = OWN.kimg
    batch: Annotated[int, option(SCHEDULE, "Examples an iteration.", min=1, max=OWN.block)] = OWN.batch
    lr: Annotated[float, option(SCHEDULE, "Learning rate; by a cosine it falls to 0 at the end.", min=0)] = OWN.lr
    warmup_kimg: Annotated[float, option(SCHEDULE, "kimg in which it rises from 0.", min=0)] = OWN.warmup_kimg
    ema_kimg: Annotated[float, option(SCHEDULE, "Half-life of the averaged network, kimg.", min=0)] = OWN.ema_kimg
    tick_kimg: Annotated[float, option(SCHEDULE, "kimg between checkpoints.", "--tick", min=0.001)] = OWN.tick_kimg
    coarse_weight: Annotated[float, option(LOSSES, "Weight of the difference between means over squares.", min=0)] = (
        OWN.coarse_weight
    )
    adversarial_weight: Annotated[
        float, option(LOSSES, "Weight of what the discriminator says of translated renders; 0: none.", min=0)
    ] = OWN.adversarial_weight
    adversarial_kimg: Annotated[float, option(LOSSES, "kimg before the discriminator has a part.", min=0)] = (
        OWN.adversarial_kimg
    )
    d_lr: Annotated[float, option(LOSSES, "Learning rate of the discriminator.", min=0)] = OWN.d_lr
    range_faces: Annotated[
        int, option(LOSSES, "Renders by which the network learns which faces it knows.", min=LEAST_RANGE_FACES)
    ] = OWN.range_faces
    precision: Annotated[Precision, option(MACHINE, "Of the generators and convolutions.")] = OWN.precision
    deterministic: Annotated[bool, option(MACHINE, "Bit-equal runs on the CPU; slower.", "--deterministic")] = False
    seed: Annotated[int, option(MACHINE, "Seed of everything random.", min=0)] = OWN.seed


def distill(
    renders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RENDERS", help="Folders or zips of aligned faces in the pair's rendering look.", show_default=False
        ),
    ],
    method: Method,
    folder: RunFolder,
    pair: Annotated[
        str | None, option(FOLDER, "Whose change is learned.", show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}")
    ] = None,
    photos: Annotated[
        list[Path] | None,
        option(FOLDER, "Folder or zip of aligned photographs; may be given again.", show_default="drawn by the pair"),
    ] = None,
    device: DeviceName = "auto",
) -> None:
    """Train a pair's feed-forward network, which needs no inversion. The same command again goes on.

    The run folder becomes the pair with that network: refacer run look.png --pair RUN --way translate.
    """
    from refacer.finetuning.distillation import DistillationRecipe
    from refacer.finetuning.run import Training

    recipe = DistillationRecipe(renders, photos or [], pair, DistillOptions(**vars(method)), device)
    training = Training(recipe, folder.output, quiet=folder.quiet)
    training.show() if folder.dry_run else training.go(folder.resume)
