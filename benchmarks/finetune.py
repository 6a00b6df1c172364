"""Images a second of each phase of fine-tuning, on random pictures and random weights.

    python -m benchmarks.finetune [--resolution 1024] [--batch-gpu 4] [--device cuda] [--precision bfloat16] [--compile]

A phase is timed as the loop runs it: one part of a batch, forwards, backwards and the optimiser's step. "sketch and
colour" and "augmentation" are parts of other phases, timed alone, backwards too.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from refacer.device import choose_device, machine_name
from refacer.files import encode_png
from refacer.networks.sketch import LineExtractor
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.training.dataset import FaceDataset
from refacer.training.generate import training_networks
from refacer.training.trainer import Trainer
from refacer.weights.bases import fresh_networks
from refacer.weights.published import load_efficientnet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--channel-base", type=int, default=NetworkOptions.channel_base)
    parser.add_argument("--channel-max", type=int, default=NetworkOptions.channel_max)
    parser.add_argument("--batch-gpu", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--compile", action="store_true", help="as `refacer finetune --compile`")
    parser.add_argument("--seconds", type=float, default=3.0, help="at least, for each phase")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    trainer = make_trainer(args)
    found = {name: rate(work, trainer, args.seconds) for name, work in phases(trainer).items()}
    found["whole iteration"] = mixed(found, trainer.options)
    facts = {
        "machine": machine_name(trainer.device), "torch": torch.__version__, "resolution": args.resolution,
        "batch_gpu": args.batch_gpu, "precision": str(trainer.passes.dtype).removeprefix("torch."),
        "compile": args.compile, "threads": torch.get_num_threads(),
    }  # fmt: skip
    if args.json:
        json.dump({**facts, "images_per_s": found}, sys.stdout, indent=1)
        print()
        return
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    print("\n".join(f"{name:20} {value:10.2f} images/s" for name, value in found.items()))


def make_trainer(args: argparse.Namespace) -> Trainer:
    """Everything of a real run, with noise for pictures."""
    device = choose_device(args.device)
    options = FinetuneOptions(batch=args.batch_gpu, precision=args.precision, compile=args.compile, aug_p=0.4)
    torch.manual_seed(0)
    sizes = NetworkOptions(args.resolution, args.channel_base, args.channel_max)
    generator, discriminator = fresh_networks(sizes)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i in range(4):
            noise = rng.integers(0, 256, (args.resolution, args.resolution, 3), dtype=np.uint8)
            (Path(folder) / f"{i}.png").write_bytes(encode_png(noise, None))
        data = FaceDataset([Path(folder)], args.resolution)
    data.keep_on(device)
    real = copy.deepcopy(generator).to(device).eval().requires_grad_(False)
    perceptual = load_efficientnet(device)
    frozen = {"real": real, "sketch": LineExtractor().to(device), "perceptual": perceptual}
    return Trainer(training_networks(generator, discriminator, device, **frozen), data, options, device)


def phases(trainer: Trainer) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    count = trainer.options.batch

    def identity() -> None:
        trainer.random.start("measure", 0, 0)
        for parameter in trainer.g_parameters:
            parameter.requires_grad_(True)
        loss = trainer._term_losses(trainer.passes.sample_ws(count))
        assert isinstance(loss, torch.Tensor)
        loss.mean().backward()
        for parameter in trainer.g_parameters:
            parameter.requires_grad_(False)
        trainer.g_optimizer.zero_grad(set_to_none=True)

    def augmentation() -> None:
        images = trainer._real_images(0, count).requires_grad_(True)
        trainer.passes.augmented(images).sum().backward()

    return {
        "G main": lambda: trainer._update("generator", trainer._generator_loss),
        "G path length": lambda: trainer._update("path_length", trainer._path_length_loss),
        "D main": lambda: trainer._update("discriminator", trainer._discriminator_loss),
        "D R1": lambda: trainer._update("r1", trainer._r1_loss),
        "sketch and colour": identity,
        "augmentation": augmentation,
    }


def rate(work: Callable[[], None], trainer: Trainer, at_least_s: float) -> float:
    """Images a second, after two warm-up rounds."""
    for _ in range(2):
        work()
    wait(trainer.device)
    rounds, began = 0, time.perf_counter()
    while rounds < 2 or time.perf_counter() - began < at_least_s:
        work()
        rounds += 1
        if rounds % 4 == 0:
            wait(trainer.device)
    wait(trainer.device)
    return rounds * trainer.options.batch / (time.perf_counter() - began)


def mixed(rates: dict[str, float], options: FinetuneOptions) -> float:
    """Images a second of the loop, with the regularisers at their intervals."""
    seconds = 1 / rates["G main"] + 1 / rates["D main"]
    seconds += 1 / (rates["G path length"] * options.pl_interval) + 1 / (rates["D R1"] * options.r1_interval)
    return 1 / seconds


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


if __name__ == "__main__":
    main()
