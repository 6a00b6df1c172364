"""The paper's Table 2 and Fig. 12 on a small world: what the set to fine-tune on is good for, by one command.

    python -m benchmarks.datasets --data DIR --hundred FILE --out DIR [--base PAIR] [--kimg 0.6] [--card FILE]

Fine-tunes --base by the paper's rule on cg.zip of --data, many people seen once each, and on --hundred, few people seen
in many poses and lights, alike in all else. Then people of pairs.zip, who are in neither, are projected into each
rendering generator and decoded by the realistic one; the figures tell what of the input is kept. The same command again
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.rivals import RULES, finetune
from benchmarks.strips import sheet_of
from benchmarks.studio import plain
from benchmarks.studio_measures import Identity, identity_distance
from benchmarks.studio_rows import Person, finite_mean, read_people
from refacer.evaluation.faces import perceptual_distance, squared_difference
from refacer.files import write_atomic
from refacer.images.sheet_layout import encode_jpeg
from refacer.options import DEFAULT_PAIR
from tools.studio.card import markdown, with_section
from tools.studio.transfer import Transfer

TITLES = {"many": "many people, seen once each", "few": "100 people in many poses and lights"}
PAPER = {"many": ("0.135", "0.048"), "few": ("0.176", "0.062")}
"""Table 2: LPIPS and L2 of DRFHQ and of Diverse Human Faces."""

COLUMNS = {
    "perceptual": "perceptual ↓",
    "l2": "L2 ↓",
    "identity_to_input": "identity to input ↓",
    "identity_to_photo": "identity to the true photograph ↓",
}
THEIRS = ("paper: LPIPS ↓", "paper: L2 ↓")
SCHEDULE: dict[str, Any] = {"axes": "styles", "steps": 60, "lr": 0.3}
SHOWN_PEOPLE = 6


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    people, identity = read_people(args.data / "pairs.zip", args.people), Identity()
    rows: dict[str, dict[str, float]] = {}
    pictures: dict[str, list[Tensor]] = {}
    for name, renders in {"many": args.data / "cg.zip", "few": args.hundred}.items():
        finetune(args, renders, args.out / name, RULES["paper"])
        transfer = Transfer(str(args.out / name), device=args.device, store=args.out / "codes", **SCHEDULE).read()
        pictures[name] = [realistic(person, transfer) for person in people]
        rows[name] = figures(people, pictures[name], identity, transfer)
        report = {"people": len(people), "kimg": args.kimg, **SCHEDULE, "rows": rows}
        write_atomic(args.out / "datasets.json", json.dumps(plain(report), indent=1).encode() + b"\n")
        print(table(rows), flush=True)
    write_atomic(args.out / "datasets.jpg", encode_jpeg(sheet(people, pictures)))
    if args.card:
        write_atomic(args.card, with_section(args.card.read_text(), "table 2", table(rows)).encode())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with cg.zip and pairs.zip")
    parser.add_argument("--hundred", type=Path, required=True, help="folder or zip of renders of few people")
    parser.add_argument("--base", default=DEFAULT_PAIR, help="pair or base that both start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, the figures and the pictures")
    parser.add_argument("--kimg", default="0.6", help="thousands of images that each run sees, at least")
    parser.add_argument("--people", type=int, help="of pairs.zip; all of them without")
    parser.add_argument("--precision", default="auto", help="of the convolutions in training")
    parser.add_argument("--card", type=Path, help="Markdown file whose section `table 2` is rewritten")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def realistic(person: Person, transfer: Transfer) -> Tensor:
    """A person through a pair as Sec. 3.3 has it, (1, 3, S, S)."""
    return transfer.decode(transfer.project(person.name, person.face, "rendering").codes, psi=1.0).cpu()


def figures(
    people: Sequence[Person], pictures: Sequence[Tensor], identity: Identity, transfer: Transfer
) -> dict[str, float]:
    """The means of all columns over people, of whole pictures."""
    network = transfer.whole_perceptual
    whole = torch.ones(1, 1, *people[0].face.shape[-2:])
    found: list[dict[str, float]] = []
    for person, picture in zip(people, pictures, strict=True):
        shown = {"input": person.face, "photo": person.photo, "result": picture}
        points = {name: identity.landmarks(one) for name, one in shown.items()}
        known = (points["input"], points["photo"])
        described = {name: identity.describe(one, points[name], known) for name, one in shown.items()}
        found.append(
            {
                "perceptual": perceptual_distance(picture, person.face, whole, network),
                "l2": squared_difference(picture, person.face, whole),
                "identity_to_input": identity_distance(described["result"], described["input"]),
                "identity_to_photo": identity_distance(described["result"], described["photo"]),
            }
        )
    return {name: finite_mean(row[name] for row in found) for name in COLUMNS}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Both sets' figures as Markdown, with the paper's."""
    body = [(TITLES[name], *(f"{row[column]:.3g}" for column in COLUMNS), *PAPER[name]) for name, row in rows.items()]
    return markdown(("fine-tuned on", *COLUMNS.values(), *THEIRS), body)


def sheet(people: Sequence[Person], pictures: Mapping[str, Sequence[Tensor]]) -> Any:
    """Fig. 12: the same people by the pair of each set."""
    shown = range(0, len(people), max(1, len(people) // SHOWN_PEOPLE))[:SHOWN_PEOPLE]
    lines = [("input", [people[i].face for i in shown])]
    lines += [(TITLES[name], [drawn[i] for i in shown]) for name, drawn in pictures.items()]
    lines += [("true photograph", [people[i].photo for i in shown])]
    return sheet_of(lines)


if __name__ == "__main__":
    main()
