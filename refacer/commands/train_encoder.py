"""`refacer train-encoder`: train a network that gives faces their codes at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from refacer.commands.flags import FOLDER, MACHINE, DeviceName, RunFolder
from refacer.commands.groups import option
from refacer.options import DEFAULT_PAIR, EncoderOptions, GeneratorRole, Precision, TrainedName, TrunkName

EXAMPLE = "refacer train-encoder renders.zip --kind psp --samples 0.5 --pair runs/a -o runs/a-encoder"
NETWORK, SCHEDULE, LOSSES = "Network", "Schedule", "Losses"
OWN = EncoderOptions


@dataclass(frozen=True)
class Method:
    """How it is trained; the names are those of EncoderOptions."""

    kind: Annotated[
        TrainedName, option(NETWORK, "Whose way from a face to its codes; linear is our own, and learns soonest.")
    ] = OWN.kind
    trunk: Annotated[
        TrunkName,
        option(NETWORK, "own: learns as well; efficientnet-lite0: has learned already, and stays as it is."),
    ] = OWN.trunk
    looks: Annotated[
        int | None,
        option(NETWORK, "How often ReStyle or HyperStyle looks, each time correcting its last answer.", min=1, max=16,
               show_default="ReStyle and HyperStyle 3, the others 1"),
    ] = OWN.looks  # fmt: skip
    size: Annotated[Literal["compact", "full"], option(NETWORK, "full: the published sizes, a GB.")] = OWN.size
    into: Annotated[GeneratorRole, option(NETWORK, "The generator of the pair whose codes are learned.")] = OWN.into
    kimg: Annotated[float, option(SCHEDULE, "Thousands of pictures to see in all.", min=0.001)] = OWN.kimg
    batch: Annotated[int, option(SCHEDULE, "Pictures an iteration, on all devices together.", min=1)] = OWN.batch
    samples: Annotated[
        float,
        option(SCHEDULE, "Share of them that the generator draws; without FACES all.", min=0, max=1),
    ] = OWN.samples
    jitter: Annotated[
        float, option(SCHEDULE, "Shift and scale the given faces by up to this fraction.", min=0, max=0.5)
    ] = OWN.jitter
    optimizer: Annotated[Literal["ranger", "adam"], option(SCHEDULE, "Ranger is the published one.")] = OWN.optimizer
    lr: Annotated[float, option(SCHEDULE, "Learning rate.", min=0)] = OWN.lr
    rate_falls: Annotated[
        bool, option(SCHEDULE, "Let it fall by a cosine to 0 at the end.", "--rate-falls/--rate-stays")
    ] = OWN.rate_falls
    tick_kimg: Annotated[float, option(SCHEDULE, "kimg between checkpoints.", "--tick", min=0.001)] = OWN.tick_kimg
    l2_weight: Annotated[float, option(LOSSES, "Weight of the squared difference.", min=0)] = OWN.l2_weight
    perceptual_weight: Annotated[
        float, option(LOSSES, "Weight of LPIPS, or of the pair's stand-in.", min=0)
    ] = OWN.perceptual_weight  # fmt: skip
    identity_weight: Annotated[
        float, option(LOSSES, "Weight of identity, where its network is installed.", min=0)
    ] = OWN.identity_weight  # fmt: skip
    code_weight: Annotated[
        float, option(LOSSES, "Weight of the distance to the true codes of drawn pictures.", min=0)
    ] = OWN.code_weight  # fmt: skip
    prior_weight: Annotated[float, option(LOSSES, "Weight of the latent prior; 0 is the published loss.", min=0)] = (
        OWN.prior_weight
    )
    delta_weight: Annotated[float, option(LOSSES, "e4e: weight of what is added to the first code.", min=0)] = (
        OWN.delta_weight
    )
    adversarial_weight: Annotated[float, option(LOSSES, "e4e: weight of the latent discriminator.", min=0)] = (
        OWN.adversarial_weight
    )
    d_lr: Annotated[float, option(LOSSES, "e4e: learning rate of the discriminator.", min=0)] = OWN.d_lr
    w_share: Annotated[
        float, option(SCHEDULE, "hyperstyle: share of the run in which its encoder into W learns.", min=0, max=1)
    ] = OWN.w_share
    precision: Annotated[Precision, option(MACHINE, "Of the generator and convolutions.")] = OWN.precision
    deterministic: Annotated[bool, option(MACHINE, "Bit-equal runs on the CPU; slower.", "--deterministic")] = False
    seed: Annotated[int, option(MACHINE, "Seed of everything random.", min=0)] = OWN.seed


def train_encoder(
    method: Method,
    folder: RunFolder,
    faces: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FACES",
            help="Folders or zips of aligned faces in the generator's look; none: the generator's own.",
            show_default=False,
        ),
    ] = None,
    pair: Annotated[
        str | None, option(FOLDER, "Whose codes are learned.", show_default=f"$REFACER_PAIR, else {DEFAULT_PAIR}")
    ] = None,
    device: DeviceName = "auto",
) -> None:
    """Train an encoder, which gives a face its code at once. The same command again goes on.

    The run folder becomes the pair with that encoder: refacer run look.png --pair RUN --init encoder.

    On several GPUs: torchrun --nproc-per-node N -m refacer train-encoder ...
    """
    from refacer.finetuning.encoding import EncoderRecipe
    from refacer.finetuning.run import Training

    recipe = EncoderRecipe(faces or [], pair, EncoderOptions(**vars(method)), device)
    training = Training(recipe, folder.output, quiet=folder.quiet)
    training.show() if folder.dry_run else training.go(folder.resume)
