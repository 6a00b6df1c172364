"""What one face costs at 1024²: seconds a step of `project`, of one `decode`, and the memory they need.

    python benchmarks/full_size.py [--device cuda] [--resolution 1024] [--steps 5] [--threads 2] [--json FILE]

The networks have the published shapes and random weights: StyleGAN2 with channel_base 32768, 18 codes at 1024², and
LPIPS over VGG16. Values do not matter for time; nothing is downloaded. `project` in each precision takes turns with
steps as the published projectors compute them: kernels modulated for each face, activations in NCHW, in float32. On a
GPU also without the recorded steps (`stages/replay.py`), and whole: the paper's 500 steps, and an encoder of the
published size (e4e) with 15 steps.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.device import choose_device, machine_name
from refacer.files import write_atomic
from refacer.networks.encoders import EncoderConfig, FaceEncoder
from refacer.networks.perceptual import VGG16_LAYOUT, LpipsVgg, distance
from refacer.networks.stylegan2.networks import Generator, GeneratorConfig
from refacer.options import DecodeOptions, Precision, ProjectOptions
from refacer.stages import replay
from refacer.stages.decode import decode
from refacer.stages.project import Optimiser
from refacer.types import Progress

ROUNDS = 2
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
PAPERS_STEPS, FROM_ENCODER = 500, 15


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    report = measured(choose_device(args.device), args.resolution, args.steps)
    text = json.dumps(report, indent=1)
    print(text)
    if args.json:
        write_atomic(args.json, text.encode() + b"\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measured(device: torch.device, resolution: int, steps: int) -> dict[str, Any]:
    """Build the networks, project one face in every way, decode its code."""
    generator = Generator(GeneratorConfig(img_resolution=resolution)).to(device).eval().requires_grad_(False)
    perceptual = LpipsVgg(random_vgg16()).to(device).eval()
    face = torch.rand(1, 3, resolution, resolution, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1
    loaded = peak_bytes(device)

    def inverter(precision: Precision, steps: int, encoder: FaceEncoder | None = None) -> Optimiser:
        return Optimiser(perceptual, 1.0, ProjectOptions(steps, precision=precision), encoder)

    ways: dict[str, Callable[[Progress], object]] = {
        "published": lambda told: published(face, generator, perceptual, steps, told)
    }
    for name in PRECISIONS:
        ways[name] = partial(_projected, inverter(name, steps), face, generator)
        if device.type == "cuda":
            ways[f"{name}, not recorded"] = partial(_not_recorded, ways[name])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name] += seconds_of_steps(way, device)
    a_step = {name: median(found) for name, found in seconds.items()}
    whole: dict[str, float] = {}
    if device.type == "cuda":
        encoder = FaceEncoder(EncoderConfig("e4e", num_ws=generator.num_ws)).to(device).eval().requires_grad_(False)
        for name in PRECISIONS:
            for label, one in {
                f"{PAPERS_STEPS} steps": inverter(name, PAPERS_STEPS),
                f"encoder and {FROM_ENCODER} steps": inverter(name, FROM_ENCODER, encoder),
            }.items():
                whole[f"{label}, {name}"] = seconds_of(partial(one, face, generator), device)
    codes = generator.mapping.w_avg.expand(1, generator.num_ws, -1)
    decoding = seconds_of(partial(decode, codes, generator, DecodeOptions()), device)
    return {
        "machine": machine_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "resolution": resolution,
        "num_ws": generator.num_ws,
        "seconds_a_step": {name: round(found, 3) for name, found in a_step.items()},
        "of_published": {name: round(found / a_step["published"], 2) for name, found in a_step.items()},
        "seconds_a_face": {name: round(found, 3) for name, found in whole.items()},
        "decode_seconds": round(decoding, 3),
        "networks_gb": round(loaded / 2**30, 2),
        "peak_gb": round(peak_bytes(device) / 2**30, 2),
    }


def _projected(inverter: Optimiser, face: Tensor, generator: Generator, told: Progress) -> None:
    inverter(face, generator, progress=told)


def _not_recorded(way: Callable[[Progress], object], told: Progress) -> None:
    """With every step taken kernel by kernel."""
    usual, replay.WARM_UP = replay.WARM_UP, 10**9
    try:
        way(told)
    finally:
        replay.WARM_UP = usual


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one piece of work."""
    settled(device)
    began = time.perf_counter()
    work()
    settled(device)
    return time.perf_counter() - began


def seconds_of_steps(way: Callable[[Progress], object], device: torch.device) -> list[float]:
    """Seconds of each step but the first, in which allocators and kernels warm up."""
    ended: list[float] = []

    def told(_done: int, _of: int) -> None:
        settled(device)
        ended.append(time.perf_counter())

    way(told)
    return [after - before for before, after in pairwise(ended)]


def published(face: Tensor, generator: Generator, perceptual: LpipsVgg, steps: int, told: Progress) -> None:
    """Steps with the arithmetic of the published projectors; the schedule costs nothing and is left out."""
    maps = {key: torch.randn_like(noise).requires_grad_() for key, noise in generator.synthesis.noise_buffers().items()}
    codes = generator.mapping.w_avg.expand(1, generator.num_ws, -1).clone().requires_grad_()
    adam = torch.optim.Adam([codes, *maps.values()], lr=0.01)
    with torch.no_grad():
        target = perceptual.features(face)
    for step in range(steps):
        drawn = generator.synthesis(codes, noise=maps, modulate="weights").contiguous()
        loss = distance(perceptual.features(drawn), target).sum() + 1e5 * sum(map(self_correlation, maps.values()))
        adam.zero_grad()
        loss.backward()
        adam.step()
        told(step + 1, steps)


def self_correlation(noise: Tensor) -> Tensor:
    """The published regulariser of one map (R, R)."""
    maps, total = noise[None, None], noise.new_zeros(())
    while True:
        total = total + sum((maps * maps.roll(1, axis)).mean().square() for axis in (2, 3))
        if maps.shape[-1] <= 8:
            return total
        maps = F.avg_pool2d(maps, 2)


def random_vgg16() -> dict[str, torch.Tensor]:
    """A state of VGG16's convolutions under torchvision's names, He-initialised."""
    state, index, channels = {}, 0, 3
    for width in VGG16_LAYOUT:
        if width == "M":
            index += 1
            continue
        state[f"features.{index}.weight"] = torch.randn(int(width), channels, 3, 3) * (2 / (9 * channels)) ** 0.5
        state[f"features.{index}.bias"] = torch.zeros(int(width))
        index, channels = index + 2, int(width)
    return state


def peak_bytes(device: torch.device) -> int:
    """Most memory held so far: the device's allocator, or the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def settled(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
