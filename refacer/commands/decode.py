"""`refacer decode`: faces drawn from codes."""

from __future__ import annotations

from typing import Annotated

from refacer.commands.flags import DECODING, Decoding, Files, Inputs, Machine, Seed, call
from refacer.commands.groups import option
from refacer.options import Choices, DecodeOptions, GeneratorRole

EXAMPLE = "refacer decode codes.npy -o real.png"


def decode(
    decoding: Decoding,
    machine: Machine,
    files: Files,
    inputs: Inputs = None,
    into: Annotated[GeneratorRole, option(DECODING, "Which generator of the pair draws.")] = DecodeOptions.into,
    seed: Seed = Choices.seed,
) -> None:
    """Draw W+ codes with the realistic generator.

    In a folder, what is up to date is left alone.
    """
    from refacer.jobs.decode import main

    main(inputs, call(files, machine, decoding, seed=seed), into)
