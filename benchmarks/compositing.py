"""How much of a foreign background, and how much of the old face, erosion and feather leave in a picture.

    python -m benchmarks.compositing PAIRS.zip [--parser FILE.safetensors] [--sheet FILE.png]

Each pair's photo is pasted onto its cg portrait (they are pixel-aligned), once with a black and once with a white
background behind the photo's head: what differs between the two results is background that was pasted. The mask is
the parser's, or without one the true labels'.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from refacer.images.pixels import labels_from_array, rgb_from_tensor, tensor_from_rgb
from refacer.networks.parser import FaceParser
from refacer.options import CompositeOptions
from refacer.stages.composite import Blend, composite
from refacer.stages.parse import mask_from_labels, parse
from refacer.types import Points, Rgb
from refacer.weights.loaders import load_studio_parser
from tools.studio.parser_data import read_portraits

SIDE_PX = 256
QUAD: Points = ((-0.5, -0.5), (-0.5, 255.5), (255.5, 255.5), (255.5, -0.5))
OUTSIDE, NECK = (0, 16), 14  # background and cloth: what a generator invents around a head
GRID = [(0.0, 0.01), (0.01, 0.012), (0.01, 0.005), (0.016, 0.008), (0.02, 0.01), (0.024, 0.008), (0.03, 0.015)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("pairs", type=Path)
    arguments.add_argument("--parser", type=Path)
    arguments.add_argument("--sheet", type=Path, help="PNG of some results, a row each setting")
    args = arguments.parse_args()
    photos, renders, labels = (read_portraits(args.pairs, folder) for folder in ("photo", "cg", "label"))
    parser = load_studio_parser(args.parser) if args.parser else None
    rows = []
    print("| erode | feather | halo p99 | halo max | old face | step |\n|---|---|---|---|---|---|")
    for erode_frac, feather_frac in GRID:
        options = CompositeOptions(erode_frac, feather_frac, "none")
        found = [
            measured(tensor_from_rgb(photos[name]), tensor_from_rgb(renders[name]), labels[name], parser, options)
            for name in photos
        ]
        values = np.array([numbers for numbers, _ in found]).mean(0)
        print(f"| {erode_frac} | {feather_frac} | " + " | ".join(f"{value:.3g}" for value in values) + " |", flush=True)
        rows.append(np.concatenate([picture for _, picture in itertools.islice(found, 6)], axis=1))
    if args.sheet:
        Image.fromarray(np.concatenate(rows)).save(args.sheet)


def measured(
    photo: Tensor, render: Tensor, labels: NDArray[np.uint8], parser: FaceParser | None, options: CompositeOptions
) -> tuple[tuple[float, ...], Rgb]:
    """Levels of background pasted (99th percentile, most), share of the head that stays old, steepest step of alpha."""
    known = parse(photo, parser) if parser else labels_from_array(labels)[None]
    mask = mask_from_labels(known)[:, None]
    dark, light = (composite(render, before(photo, labels, shade), mask, QUAD, options) for shade in (-1.0, 1.0))
    halo = ((light.pixels - dark.pixels).abs().amax(1) * 127.5)[light.alpha[:, 0] > 0]
    alpha = in_picture(light.alpha, light)
    head = torch.from_numpy(~np.isin(labels, (*OUTSIDE, NECK)))
    kept = ((alpha[0, 0] < 0.5) & head).sum() / head.sum()
    step = max(alpha.diff(dim=2).abs().max().item(), alpha.diff(dim=3).abs().max().item())
    picture = torch.where(alpha > 0, in_picture(light.pixels, light), render)
    return (halo.quantile(0.99).item(), halo.max().item(), kept.item(), step), rgb_from_tensor(picture)


def before(photo: Tensor, labels: NDArray[np.uint8], background: float) -> Tensor:
    """The photo's head before a plain background, its edge as soft as a lens makes it."""
    head = torch.from_numpy(~np.isin(labels, OUTSIDE)).float()[None, None]
    return torch.lerp(torch.full_like(photo, background), photo, F.avg_pool2d(head, 3, 1, 1, count_include_pad=False))


def in_picture(part: Tensor, blend: Blend) -> Tensor:
    """A blend's tensor at its place in a portrait of zeros."""
    whole = part.new_zeros(1, part.shape[1], SIDE_PX, SIDE_PX)
    whole[:, :, blend.top : blend.top + part.shape[2], blend.left : blend.left + part.shape[3]] = part
    return whole


if __name__ == "__main__":
    main()
