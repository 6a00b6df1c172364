"""Train the judge of refacer/networks/judge.py on the studio pair's two training sets; validate on unseen people.

    python -m tools.studio.train_judge --data DIR --out tools/studio/judge.safetensors

DIR holds photo.zip, photo_labels.zip, cg.zip, cg_labels.zip (trained on) and pairs.zip (validated on). Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.evaluation.networks import load_judge
from refacer.files import write_atomic
from refacer.images.pixels import labels_from_array, tensor_from_rgb
from refacer.networks.judge import (
    FACE_CLASSES,
    JUDGE_PX,
    KIND,
    Judge,
    alone,
    degraded,
    face_mask,
    judged_size,
    verdicts,
)
from refacer.weights.loaders import encode_network
from tools.studio.parser_data import NECK, read_portraits

JUDGE_FILE = Path(__file__).parent / "judge.safetensors"
LOOKS = {"photo": 1.0, "cg": 0.0}
BATCH, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 32, 3e-3, 1e-2, 0.02
SHIFT_PX = 8
CHIN_ROWS_FRAC = (0.7, 1.0)  # the renders call the chin neck: above a random row it counts as face, as a parser has it


@dataclass(frozen=True)
class Faces:
    """Faces (N, 3, 128, 128), what of them is face, what is neck (N, 1, 128, 128), and whether they are photos (N,)."""

    pictures: Tensor
    masks: Tensor
    necks: Tensor
    photo: Tensor


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    started = time.monotonic()
    faces = joined([read_look(args.data, f"{look}.zip", look, args.limit) for look in LOOKS])
    judge = Judge()
    for step, loss in enumerate(train(judge, faces, args.epochs, args.seed)):
        if step % 50 == 0:
            print(f"step {step} loss {loss:.3f} {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    write_atomic(args.out, encode_network(judge.eval(), KIND, judge.config))
    about = {"train_s": round(time.monotonic() - started), "faces": len(faces.photo), "epochs": args.epochs,
             "parameters": sum(p.numel() for p in judge.parameters()), "classes": FACE_CLASSES}  # fmt: skip
    print(json.dumps({**about, "validation": validate(load_judge(args.out), args.data)}, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the zips")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--epochs", type=float, default=24)
    parser.add_argument("--limit", type=int, default=None, help="faces of each look to train on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read_look(data: Path, archive: str, look: str, limit: int | None = None) -> Faces:
    """The faces of one look, at the judge's size; labels lie in the same zip or in LOOK_labels.zip."""
    beside = data / f"{look}_labels.zip"
    labels = read_portraits(beside if archive == f"{look}.zip" else data / archive, "label")
    rows = []
    for name, portrait in list(read_portraits(data / archive, look).items())[:limit]:
        known = labels_from_array(labels[name])[None]
        picture, mask = judged_size(tensor_from_rgb(portrait), face_mask(known))
        _, neck = judged_size(tensor_from_rgb(portrait), (known == NECK)[:, None])
        rows.append((picture, mask, neck))
    pictures, masks, necks = (torch.cat(column) for column in zip(*rows, strict=True))
    return Faces(pictures, masks, necks, torch.full((len(pictures),), LOOKS[look]))


def joined(parts: list[Faces]) -> Faces:
    """Several sets as one."""
    columns = zip(*((p.pictures, p.masks, p.necks, p.photo) for p in parts), strict=True)
    return Faces(*(torch.cat(column) for column in columns))


def train(judge: Judge, faces: Faces, epochs: float, seed: int) -> Iterator[float]:
    """AdamW under one cycle, both sets counting alike; yields the loss of each step."""
    optimizer = torch.optim.AdamW(judge.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = max(1, round(epochs * len(faces.photo) / BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1)
    balance = (1 - faces.photo).sum() / faces.photo.sum().clamp(min=1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(faces.photo), (BATCH,), generator=generator)
        pictures, masks = drawn(faces, chosen, generator)
        wanted = faces.photo[chosen] * (1 - 2 * SMOOTHING) + SMOOTHING
        loss = F.binary_cross_entropy_with_logits(judge(pictures, masks), wanted, pos_weight=balance)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()


def drawn(faces: Faces, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch as the judge gets it in training: degraded, with a random chin, mirrored, shifted, whatever the look."""
    rows = torch.rand(len(chosen), 1, 1, 1, generator=generator) * (CHIN_ROWS_FRAC[1] - CHIN_ROWS_FRAC[0])
    chin = torch.arange(JUDGE_PX).view(1, 1, -1, 1) < (rows + CHIN_ROWS_FRAC[0]) * JUDGE_PX
    masks = torch.maximum(faces.masks[chosen], faces.necks[chosen] * chin)
    pictures = degraded(alone(faces.pictures[chosen], masks), generator)
    both = torch.cat([pictures, masks], 1)
    mirrored = torch.rand(len(chosen), 1, 1, 1, generator=generator) < 0.5
    both = torch.where(mirrored, both.flip(3), both)
    down, across = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2,), generator=generator).tolist()
    both = both.roll((down, across), (2, 3))
    return both[:, :3], both[:, 3:]


def validate(judge: Judge, data: Path) -> dict[str, object]:
    """How many of the pairs' pictures are judged rightly, as they are and altered."""
    looks = {look: read_look(data, "pairs.zip", look) for look in LOOKS}
    right = {
        name: {
            look: count_right(judge, replace(faces, pictures=alter(faces.pictures))) for look, faces in looks.items()
        }
        for name, alter in ALTERATIONS.items()
    }
    pictures, plain = sum(len(faces.photo) for faces in looks.values()), sum(right["unaltered"].values())
    return {"pictures": pictures, "right": plain, "accuracy": round(plain / pictures, 4), "right_of_each_look": right}


def count_right(judge: Judge, faces: Faces) -> int:
    """Verdicts that agree with the set a face is of."""
    return int(((verdicts(judge, faces.pictures, faces.masks) > 0) == (faces.photo > 0.5)).sum())


def noisy(faces: Tensor) -> Tensor:
    """Faces with Gaussian noise of 5/255."""
    return faces + torch.randn(faces.shape, generator=torch.Generator().manual_seed(0)) * (5 / 127.5)


def blurred(faces: Tensor) -> Tensor:
    """Faces at two fifths of their resolution."""
    small = F.interpolate(faces, scale_factor=0.4, mode="bilinear", antialias=True)
    return F.interpolate(small, faces.shape[2:], mode="bicubic")


ALTERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "unaltered": lambda faces: faces,
    "noise of 5/255": noisy,
    "two fifths of the resolution": blurred,
    "70 % of the light": lambda faces: (faces + 1) * 0.7 - 1,
    "grey": lambda faces: faces.mean(1, keepdim=True).expand_as(faces),
}
"""What must not sway the judge; and grey, to see how much it looks at colour."""


if __name__ == "__main__":
    main()
