"""What each part of the method is good for, by one command: Sec. 4.3 of the paper in the shape of its Table 1.

    python -m benchmarks.ablations --data DIR --out DIR [--base PAIR] [--processes 2] [--card FILE]

Fine-tunes --base on cg.zip of --data four times, alike but for the weights of the sketch and the colour loss, and
measures every pair by `refacer eval` and on people of pairs.zip; projection straight into the realistic generator is
the last row. The same command again goes on where it was stopped. The options are the studio pair's own, so that the
first of the four is that pair trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.strips import sheet_of
from benchmarks.studio import COLUMNS as FACE_COLUMNS
from benchmarks.studio import cell, plain
from benchmarks.studio_measures import Identity
from benchmarks.studio_rows import ROWS, Person, figures_of, mean_figures, pictures_of, read_people
from refacer.evaluation.networks import load_judge
from refacer.files import write_atomic
from refacer.images.sheet_layout import encode_jpeg
from refacer.networks.judge import Judge
from refacer.options import DEFAULT_PAIR
from tools.studio.card import markdown, with_section
from tools.studio.train_judge import JUDGE_FILE
from tools.studio.transfer import Transfer

VARIANTS: dict[str, dict[str, str]] = {
    "both losses": {},
    "no sketch loss": {"sketch-weight": "0"},
    "no colour loss": {"color-weight": "0"},
    "neither": {"sketch-weight": "0", "color-weight": "0"},
}
DIRECT = ROWS["direct"]
# As the studio pair's own, Sec. 4.1 but for what docs/finetuning.md explains.
TRAINING = {"batch": "8", "ema-kimg": "0.25", "aug": "none", "jitter": "0.03", "tick": "0.1", "gamma": "1.6"}
WEIGHTS = {"sketch-weight": "2e-5", "color-weight": "8"}
LEFT_OUT = ("l2_to_photo", "sharpness", "sharpness_ratio", "seconds")
COLUMNS = {
    "fid_to_renders": "FID* to renders",
    "fid_to_photos": "FID* to photos",
    "identity_between": "identity between generators",
    **{name: title for name, title in FACE_COLUMNS.items() if name not in LEFT_OUT},
}
SHOWN_CODES, SHOWN_PEOPLE = 6, 6


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    rows: dict[str, dict[str, float]] = {}
    people, judge, identity = read_people(args.data / "pairs.zip", args.people), load_judge(JUDGE_FILE), Identity()
    strips: dict[str, dict[str, Any]] = {}
    for variant, weights in VARIANTS.items():
        run = args.out / variant.replace(" ", "-")
        finetune(args, run, {**TRAINING, **WEIGHTS, **weights})
        transfer = Transfer(str(run), device=args.device, steps=args.steps, store=args.out / "codes").read()
        figures, strips[variant] = on_people(people, transfer, judge, identity)
        rows[variant] = {**on_codes(args, run), **figures["method"]}
        rows[DIRECT] = rows.pop(DIRECT, figures["direct"])  # last; the realistic generator is the same in all of them
        report = {"people": len(people), "codes": args.codes, "images": args.images, "kimg": args.kimg, "rows": rows}
        write_atomic(args.out / "ablations.json", json.dumps(plain(report), indent=1).encode() + b"\n")
        print(table(rows), flush=True)
    write_atomic(args.out / "ablations.jpg", encode_jpeg(sheet(strips)))
    if args.card:
        write_atomic(args.card, with_section(args.card.read_text(), "table", table(rows)).encode())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with cg.zip, photo.zip and pairs.zip")
    parser.add_argument("--base", default=DEFAULT_PAIR, help="pair or base that all variants start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, the figures and the pictures")
    parser.add_argument("--kimg", default="2", help="thousands of images each variant sees")
    parser.add_argument("--processes", type=int, default=1, help="of torchrun, for training")
    parser.add_argument("--images", type=int, default=2000, help="drawn for FID*")
    parser.add_argument("--codes", type=int, default=200, help="on which both generators are compared")
    parser.add_argument("--people", type=int, help="of pairs.zip; all of them without")
    parser.add_argument("--steps", type=int, help="of the projection; the run's own without")
    parser.add_argument("--card", type=Path, help="Markdown file whose section `table` is rewritten")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def finetune(args: argparse.Namespace, run: Path, options: Mapping[str, str]) -> None:
    """One run of `refacer finetune`; a finished one stays."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(args.processes)] if args.processes > 1 else []
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    called = ["-m", "refacer", "finetune", str(args.data / "cg.zip"), "--base", args.base, "-o", str(run)]
    subprocess.run(
        [sys.executable, *launcher, *called, "--kimg", args.kimg, "--device", args.device, *flags], check=True
    )


def on_codes(args: argparse.Namespace, run: Path) -> dict[str, float]:
    """The columns of Table 1, by `refacer eval`, once; what stands in for a published network is named in its file."""
    found = run / f"eval-{args.images}-{args.codes}.json"
    sets = [args.data / "cg.zip", args.data / "photo.zip"]
    flags = ["--images", str(args.images), "--codes", str(args.codes), "--device", args.device, "-o", str(found)]
    against = [part for path in sets for part in ("--against", str(path))]
    if not found.is_file():
        subprocess.run([sys.executable, "-m", "refacer", "eval", "--pair", str(run), *against, *flags], check=True)
    measures = json.loads(found.read_text())["measures"]
    fids = [measure["value"] for measure in measures if measure["name"].startswith("fid")]
    identity = next(measure["value"] for measure in measures if measure["name"].startswith("identity"))
    return {"fid_to_renders": fids[0], "fid_to_photos": fids[1], "identity_between": identity}


def on_people(
    people: Sequence[Person], transfer: Transfer, judge: Judge, identity: Identity
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The mean figures of the method and of direct projection, and pictures of some codes and people."""
    network = transfer.whole_perceptual
    drawn = {person.name: pictures_of(person, transfer) for person in people}
    figures = {person.name: figures_of(person, drawn[person.name], identity, judge, network) for person in people}
    means = {row: mean_figures(rows[row] for rows in figures.values()) for row in ("method", "direct")}
    codes = transfer.random_codes(SHOWN_CODES, seed=0, psi=0.7)
    shown = [drawn[person.name] for person in people[:SHOWN_PEOPLE]]
    return means, {
        "codes, realistic": transfer.draw(codes, "real").split(1),
        "codes": transfer.draw(codes, "rendering").split(1),
        "input": [rows["input"][0] for rows in shown],
        "direct": [rows["direct"][0] for rows in shown],
        "people": [rows["method"][0] for rows in shown],
    }


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Every variant's figures as Markdown."""
    nowhere = float("nan")
    body = [
        (name, *(cell(column, figures.get(column, nowhere)) for column in COLUMNS)) for name, figures in rows.items()
    ]
    return markdown(("", *COLUMNS.values()), body)


def sheet(strips: Mapping[str, Mapping[str, Any]]) -> Any:
    """Figures 9 and 10: the same codes through every rendering generator, the same people by every pair."""
    first = next(iter(strips.values()))
    lines = [("realistic generator", first["codes, realistic"])]
    lines += [(f"rendering generator, {name}", strip["codes"]) for name, strip in strips.items()]
    lines += [("input", first["input"]), (DIRECT, first["direct"])]
    lines += [(f"method, {name}", strip["people"]) for name, strip in strips.items()]
    return sheet_of(lines)


if __name__ == "__main__":
    main()
