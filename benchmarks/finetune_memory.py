"""What each phase of fine-tuning holds in memory, and so what fits on a card: bytes of tensors, on any device.

    python -m benchmarks.finetune_memory [--resolution 1024] [--precision bfloat16] [--device cpu] [--json FILE]

Every tensor is counted from its birth to its end while the phases of benchmarks.finetune run, with two and with four
images at once (path length takes half of them): from the difference follows what an image costs, the rest is there
however few there are. The libraries' own workspaces and what the allocator wastes are not counted; SPARE is left for
them.
"""

from __future__ import annotations

import argparse
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.finetune import make_trainer, phases
from refacer.device import machine_name
from refacer.files import write_atomic
from refacer.options import NetworkOptions

CARDS_GB = (12, 24, 80)
SPARE = 0.2
FEW, MORE = 2, 4
TRAINED = ("G main", "G path length", "D main", "D R1")


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
    torch.set_num_threads(args.threads)
    few, more = (measured(argparse.Namespace(**vars(args), batch_gpu=count)) for count in (FEW, MORE))
    image = {name: (more[name] - few[name]) // (MORE - FEW) for name in TRAINED}
    peak = {name: {"fixed": few[name] - FEW * image[name], "image": image[name]} for name in TRAINED}
    report = {
        "machine": machine_name(torch.device(args.device)), "torch": torch.__version__, "resolution": args.resolution,
        "precision": args.precision, "between_phases": few["between"], "peak": peak,
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
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measured(args: argparse.Namespace) -> dict[str, int]:
    """Bytes held between the phases, and the most in each, once all optimisers have their moments."""
    args.compile = False
    with Held() as held:
        trainer = make_trainer(args)
        work: dict[str, Callable[[], None]] = {name: phases(trainer)[name] for name in TRAINED}
        for run in work.values():
            run()
        most = {"between": held.now}
        for name, run in work.items():
            held.begin()
            run()
            most[name] = held.peak
    return most


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
