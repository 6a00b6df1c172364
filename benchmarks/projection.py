"""Ways from a face to its code, side by side in one run: how long they take and how near they come (docs/inversion.md).

    python benchmarks/projection.py --data pairs.zip [--pair NAME] [--rows NAME ...] [--encoders RUN ...] [--json FILE]

Every face of the archive's look `cg` is inverted into the rendering generator by each row. Seconds are the mean of all
faces, one batch after the other on one machine; networks are read before the clock starts. Then the codes' own pictures
are compared with the faces, and what the realistic generator makes of them with the true photographs. Every run of
`refacer train-encoder` is a row more, a ReStyle encoder's one for each look; HyperStyle changes the weights of both
generators alike. --sheet shows all of them, as the paper's Fig. 11 does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.strips import sheet_of
from benchmarks.studio_measures import Identity, identity_distance
from benchmarks.studio_rows import Person, finite_mean, read_people
from refacer import Refacer
from refacer.device import machine_name
from refacer.equipment import Equipment
from refacer.evaluation.networks import load_judge
from refacer.files import write_atomic
from refacer.images.sheet_layout import encode_jpeg
from refacer.inverters.method import chosen_method
from refacer.networks.judge import Judge, face_mask, photo_logits
from refacer.options import DecodeOptions
from refacer.stages.decode import decode
from refacer.stages.inversion import Inversion, invert_each
from refacer.weights.pairs import load_pair
from tools.studio.train_judge import JUDGE_FILE

HYPERSTYLE = "hyperstyle"
RATES = (0.1, 0.2, 0.3, 0.4)
ROWS: dict[str, dict[str, Any]] = {
    "paper": {"init": "mean", "axes": "codes", "steps": 500, "lr": 0.01, "prior": 0.0},
    "ii2s": {"inverter": "ii2s"},
    "mean": {"init": "mean"},
    "mean, bfloat16": {"init": "mean", "precision": "bfloat16"},
    **{f"codes+{steps}@0.2": {"init": "mean", "axes": "codes", "steps": steps, "lr": 0.2} for steps in (25, 50, 100)},
    **{
        f"styles+{steps}@{rate:g}": {"init": "mean", "axes": "styles", "steps": steps, "lr": rate}
        for steps, rate in ((25, 0.4), (50, 0.3), (60, 0.3), (100, 0.2))
    },
    "encoder": {"init": "encoder", "steps": 0},
    **{
        f"encoder+{steps}@{rate:g}": {"init": "encoder", "axes": "styles", "steps": steps, "lr": rate}
        for steps in (5, 10, 15, 20, 30, 40)
        for rate in RATES
    },
}
"""What each row chooses, as `refacer project` does."""


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    people = read_people(args.data, args.limit)
    measures = Measures(load_judge(JUDGE_FILE), Identity())
    rows, strips = {}, [("input", [person.face for person in people])]
    for name, studio in chosen(args):
        rows[name], seen = measured(studio, args, people, measures)
        strips += [(f"{name}: rendering generator", [one.own for one in seen])]
        strips += [(f"{name}: realistic generator", [one.real for one in seen])]
        print(f"{name:18}", "  ".join(f"{key} {value:.4f}" for key, value in rows[name].items()), flush=True)
    report = {"machine": machine_name(torch.device(args.device)), "faces": len(people), "batch": args.batch}
    report |= {"pair": args.pair, "rows": rows}
    if args.json:
        write_atomic(args.json, json.dumps(report, indent=1).encode() + b"\n")
    if args.sheet:
        strips += [("true photograph", [person.photo for person in people])]
        write_atomic(args.sheet, encode_jpeg(sheet_of(strips)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="pairs.zip")
    parser.add_argument("--pair", help="name or folder of the pair")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--encoders", nargs="*", default=[], help="runs of `refacer train-encoder`, a row each")
    parser.add_argument("--limit", type=int, help="faces at most")
    parser.add_argument("--batch", type=int, default=1, help="faces inverted at once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warm", action="store_true", help="find one face before the clock starts, as a GPU needs")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--sheet", type=Path, help="write the pictures there, as JPEG")
    return parser.parse_args()


@dataclass(frozen=True)
class Measures:
    """What looks at the pictures."""

    judge: Judge
    identity: Identity


@dataclass(frozen=True)
class Seen:
    """What is seen of a code: figures, and what both generators draw of it."""

    figures: Mapping[str, float]
    own: Tensor
    real: Tensor


def chosen(args: argparse.Namespace) -> Iterator[tuple[str, Refacer]]:
    """The rows that were asked for, by name."""
    for name in args.rows:
        yield name, Refacer(args.pair, args.device, **ROWS[name])
    for run in args.encoders:
        if load_pair(run).has(HYPERSTYLE):
            yield HYPERSTYLE, Refacer(run, args.device, inverter=HYPERSTYLE)
            continue
        config = Refacer(run, args.device).equipment.encoder.config
        for looks in range(1, config.passes + 1):
            studio = Refacer(run, args.device, inverter=config.kind)
            studio.equipment.encoder.config = replace(config, passes=looks)
            yield config.kind if config.passes == 1 else f"{config.kind}, look {looks}", studio


def measured(
    studio: Refacer, args: argparse.Namespace, people: Sequence[Person], measures: Measures
) -> tuple[dict[str, float], list[Seen]]:
    """Seconds a face, the distance of Eq. 4, and what is seen of the codes."""
    equipment = studio.equipment
    inverter, generator = chosen_method(equipment).inverter(), equipment.rendering
    given = [person.face.to(equipment.device) for person in people]
    if args.warm:
        inverter(given[0], generator)  # the first call prepares what later ones share
    settled(equipment.device)
    began = time.perf_counter()
    found = invert_each(given, generator, inverter, batch=args.batch)
    settled(equipment.device)
    seconds = (time.perf_counter() - began) / len(people)
    seen = [looked_at(person, one, equipment, measures) for person, one in zip(people, found, strict=True)]
    distances = [float(one.distance[0]) for one in found]
    means = {name: finite_mean(one.figures[name] for one in seen) for name in seen[0].figures}
    return {"seconds": seconds, "distance": fmean(distances), "distance_median": median(distances), **means}, seen


def looked_at(person: Person, found: Inversion, equipment: Equipment, measures: Measures) -> Seen:
    """A code's own picture beside the face, and the realistic generator's beside the true photograph."""
    own = decode(found.codes, equipment.rendering, DecodeOptions(into="rendering"), found.offsets).cpu()
    real = decode(found.codes, equipment.real, equipment.decode_options(), found.offsets).cpu()
    pictures = {"input": person.face, "photo": person.photo, "own": own, "real": real}
    points = {name: measures.identity.landmarks(picture) for name, picture in pictures.items()}
    known = (points["input"], points["photo"])
    described = {name: measures.identity.describe(each, points[name], known) for name, each in pictures.items()}
    figures = {
        "l2": float((person.face - own).square().mean()),
        "identity_to_input": identity_distance(described["own"], described["input"]),
        "judged_photo": float(photo_logits(measures.judge, real, face_mask(person.labels))[0] > 0),
        "identity_to_photo": identity_distance(described["real"], described["photo"]),
    }
    return Seen(figures, own, real)


def settled(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
