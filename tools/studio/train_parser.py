"""Train the studio pair's face parser on the studio renders; validate it on people it has never seen.

    python -m tools.studio.train_parser --data DIR --out parser.safetensors

DIR holds photo.zip, photo_labels.zip, cg.zip, cg_labels.zip (trained on) and pairs.zip (validated on). Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refacer.device import choose_device
from refacer.images.pixels import tensor_from_rgb
from refacer.networks.parser import CLASS_IDS, STUDIO_IDS, StudioParser
from refacer.options import PASTED_CLASSES
from refacer.weights.loaders import encode_network
from refacer.weights.published import load_dlib_landmarks
from tools.studio.parser_data import augmented, class_indices, mended, read_portraits

CONFIG = {"channels": [32, 64, 96, 128], "image_px": 256, "patch_px": 4}
BATCH, LEARNING_RATE, WEIGHT_DECAY = 16, 3e-3, 1e-4


def main() -> None:
    args = arguments()
    device = choose_device(args.device)
    torch.manual_seed(args.seed)
    started = time.monotonic()
    faces, labels, left_out = training_set(args.data, args.limit)
    parser = StudioParser(**CONFIG).to(device).train()
    for step, loss in enumerate(train(parser, faces, labels, args.epochs, args.seed, device)):
        if step % 25 == 0:
            print(f"step {step} loss {loss:.3f} {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    args.out.write_bytes(encode_network(parser.eval(), "parser", CONFIG))
    report = {"train_s": round(time.monotonic() - started), "portraits": len(faces), "left_out": left_out}
    print(json.dumps({**report, "validation": validate(parser, args.data / "pairs.zip", device)}, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the zips")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--limit", type=int, default=None, help="portraits of each look to train on")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def training_set(data: Path, limit: int | None) -> tuple[list[NDArray[np.uint8]], list[Tensor], int]:
    """Portraits of both looks, the classes of their pixels, and how many were left out for want of a found face."""
    finder = load_dlib_landmarks(torch.device("cpu"))
    faces: list[NDArray[np.uint8]] = []
    classes: list[Tensor] = []
    left_out = 0
    for look in ("photo", "cg"):
        labels = read_portraits(data / f"{look}_labels.zip", "label")
        for name, portrait in list(read_portraits(data / f"{look}.zip", look).items())[:limit]:
            better = mended(portrait, labels[name], finder)
            if better is None:
                left_out += 1
                continue
            faces.append(portrait)
            classes.append(class_indices(better))
    return faces, classes, left_out


def train(
    parser: StudioParser,
    faces: list[NDArray[np.uint8]],
    labels: list[Tensor],
    epochs: float,
    seed: int,
    device: torch.device,
) -> Iterator[float]:
    """AdamW under one cosine; yields the loss of each step."""
    optimizer = torch.optim.AdamW(parser.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = max(1, round(epochs * len(faces) / BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.1)
    weights, generator = class_weights(labels).to(device), torch.Generator().manual_seed(seed)
    for chosen in batches(len(faces), steps, generator):
        pictures = torch.cat([tensor_from_rgb(faces[i], device) for i in chosen])
        pictures, wanted = augmented(pictures, torch.stack([labels[i] for i in chosen]).to(device), generator)
        loss = F.cross_entropy(parser.studio_logits(pictures), wanted, weight=weights, label_smoothing=0.02)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()


def batches(count: int, steps: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Indices of each step: shuffled again and again."""
    order: list[int] = []
    for _ in range(steps):
        while len(order) < BATCH:
            order += torch.randperm(count, generator=generator).tolist()
        yield order[:BATCH]
        order = order[BATCH:]


def class_weights(labels: list[Tensor]) -> Tensor:
    """Weights that grow as a class gets rarer, by the fourth root: the parts are small, their edges matter most."""
    share = torch.bincount(torch.cat([each.flatten() for each in labels[::8]]).long(), minlength=len(STUDIO_IDS)) + 1.0
    weights = (share / share.sum()) ** -0.25
    return weights / weights.mean()


@torch.no_grad()
def validate(parser: StudioParser, archive: Path, device: torch.device) -> dict[str, object]:
    """Intersection over union on the pairs: each class, and the pasted mask."""
    finder = load_dlib_landmarks(torch.device("cpu"))
    labels = read_portraits(archive, "label")
    confusion = torch.zeros(len(STUDIO_IDS), len(STUDIO_IDS), dtype=torch.long)
    for look in ("photo", "cg"):
        for name, portrait in read_portraits(archive, look).items():
            better = mended(portrait, labels[name], finder)
            if better is None:
                continue
            found = parser(tensor_from_rgb(portrait, device)).argmax(1)[0].cpu().numpy().astype(np.uint8)
            pairs = class_indices(better).long() * len(STUDIO_IDS) + class_indices(found)
            confusion += torch.bincount(pairs.flatten(), minlength=confusion.numel()).view_as(confusion)
    return scores(confusion)


def scores(confusion: Tensor) -> dict[str, object]:
    """Confusion [truth, found] over STUDIO_IDS -> mean IoU, IoU of each id, IoU of the union of the pasted classes."""
    both, either = confusion.diag().double(), (confusion.sum(0) + confusion.sum(1) - confusion.diag()).double()
    iou = (both / either.clamp(min=1)).tolist()
    pasted_ids = {identity for name in PASTED_CLASSES for identity in CLASS_IDS[name]}
    pasted = torch.tensor([identity in pasted_ids for identity in STUDIO_IDS])
    inside = confusion[pasted][:, pasted].sum()
    mask = inside / (confusion[pasted].sum() + confusion[:, pasted].sum() - inside)
    names = {identity: name for name, ids in CLASS_IDS.items() for identity in ids}
    return {
        "mean_iou": round(float(np.mean(iou)), 4),
        "mask_iou": round(float(mask), 4),
        "iou": {
            f"{identity} {names[identity]}": round(value, 3) for identity, value in zip(STUDIO_IDS, iou, strict=True)
        },
    }


if __name__ == "__main__":
    main()
