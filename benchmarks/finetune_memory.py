"""What each phase of fine-tuning holds in memory, and so what fits on a card: bytes of tensors, counted without a GPU.

    python -m benchmarks.finetune_memory [--resolution 1024] [--precision bfloat16] [--json FILE]

The phases run on tensors without values, as torch's FakeTensorMode makes them, so that 1024² takes seconds on any
machine; every tensor is counted from its birth to its end. With two and with four images at once (path length takes
half of them), the difference tells what an image costs; the rest is there however few there are. The libraries' own
workspaces and what the allocator wastes are not counted; SPARE is left for them.
"""

from __future__ import annotations

import argparse
import json
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.finetune import make_trainer
from refacer.files import write_atomic
from refacer.options import NetworkOptions

CARDS_GB = (12, 24, 80)
SPARE = 0.2
FEW, MORE = 2, 4
PHASES = ("G main", "G path length", "D main", "D R1")


class Held(TorchDispatchMode):
    """Counts the bytes of all tensors that are born inside and still live. peak: the most at once since `begin`."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def begin(self) -> None:
        self.peak = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        return found

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._end, key, size)

    def _end(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def main() -> None:
    args = arguments()
    few, more = (measured(argparse.Namespace(**vars(args), batch_gpu=count)) for count in (FEW, MORE))
    image = {name: (more[name] - few[name]) // (MORE - FEW) for name in PHASES}
    peak = {name: {"fixed": few[name] - FEW * image[name], "image": image[name]} for name in PHASES}
    report = {
        "torch": torch.__version__, "resolution": args.resolution, "precision": args.precision,
        "between_phases": few["between"], "peak": peak,
        "images_that_fit": {f"{card} GB": fitting(peak, card * 2**30) for card in CARDS_GB},
    }  # fmt: skip
    print(table(report))
    if args.json:
        write_atomic(args.json, json.dumps(report, indent=1).encode() + b"\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--channel-base", type=int, default=NetworkOptions.channel_base)
    parser.add_argument("--channel-max", type=int, default=NetworkOptions.channel_max)
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--json", type=Path)
    parser.set_defaults(device="cpu", compile=False)
    return parser.parse_args()


def measured(args: argparse.Namespace) -> dict[str, int]:
    """Bytes held between the phases, with both optimisers' moments, and the most in each."""
    with Held() as held:
        trainer = make_trainer(args)
        losses = {
            "G main": (trainer._generator_loss, trainer.g_parameters),
            "G path length": (trainer._path_length_loss, trainer.g_parameters),
            "D main": (trainer._discriminator_loss, trainer.d_parameters),
            "D R1": (trainer._r1_loss, trainer.d_parameters),
        }
        moments = 2 * sum(p.nbytes for p in (*trainer.g_parameters, *trainer.d_parameters))
        most = {"between": held.now + moments}
        for name, (loss, parameters) in losses.items():
            before = held.now
            trainer.random.start("measure", 0, 0)
            most[name] = most["between"] + peak_of(held, loss, parameters, args.batch_gpu) - before
    return most


def peak_of(
    held: Held, loss: Callable[[int, int], torch.Tensor], parameters: Sequence[torch.nn.Parameter], count: int
) -> int:
    """The most bytes held while a loss of `count` images and its gradients are computed."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    held.begin()
    with FakeTensorMode(allow_non_fake_inputs=True), held:
        torch.autograd.grad(loss(0, count).mean(), parameters, allow_unused=True)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return held.peak


def fitting(peak: dict[str, dict[str, int]], card: int) -> int:
    """Images at once with which no phase needs more than the card has, less what is spared."""
    room = card * (1 - SPARE)
    return max(0, min(int((room - cost["fixed"]) // cost["image"]) for cost in peak.values()))


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| phase | GB | and an image |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {cost['fixed'] / 2**30:.2f} | {cost['image'] / 2**30:.2f} |"
        for name, cost in report["peak"].items()
    ]
    fits = ", ".join(f"{card}: {count}" for card, count in report["images_that_fit"].items())
    return "\n".join([*lines, "", f"--batch-gpu that fits with {SPARE:.0%} to spare: {fits}"])


if __name__ == "__main__":
    main()
