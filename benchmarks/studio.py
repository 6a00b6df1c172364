"""The studio pair's table, on people whose true photograph is known.

    python benchmarks/studio.py --data DIR [--pair NAME] [--limit N] [--json FILE]

DIR holds pairs.zip. Rows: ways to a photograph of a rendered face. Columns: dlib's identity distance to the input and
to the true photo; perceptual distance, L2 and L2 of the blurred colour to the true photo, inside the pasted parts of
the true labels; the share that the judge calls a photo; sharpness in the face; seconds a face. Then both generators
on random codes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.studio_codes import compare_codes
from benchmarks.studio_measures import Identity
from benchmarks.studio_rows import ROWS, figures_of, mean_figures, pictures_of, read_people
from refacer import __version__
from refacer.device import machine_name
from refacer.evaluation.networks import load_judge
from refacer.files import write_atomic
from refacer.networks.judge import Judge
from tools.studio.train_judge import JUDGE_FILE
from tools.studio.transfer import Transfer

COLUMNS = {
    "identity_to_input": "identity to input",
    "identity_to_photo": "identity to photo",
    "perceptual_to_photo": "perceptual to photo",
    "l2_to_photo": "L2 to photo",
    "color_to_photo": "blurred colour to photo",
    "photo": "judged photo",
    "sharpness": "sharpness",
    "sharpness_ratio": "sharpness of the photo's",
    "seconds": "s a face",
}
FORMATS = {
    "l2_to_photo": ".4f", "color_to_photo": ".4f", "photo": ".0%", "sharpness": ".2f", "sharpness_ratio": ".2f",
    "seconds": ".1f",
}  # fmt: skip
WIDTH = 156  # the table needs it, whatever the terminal
RANDOM_CODES, RANDOM_CODES_A_FACE = 200, 5
IDENTITY_AIM, SHARE_AIM = 0.45, 0.8  # of random codes
TO_INPUT_AIM, TO_PHOTO_AIM, PHOTO_AIM, L2_AIM, SHARPNESS_AIM = 0.18, 0.30, 0.9, 0.85, (0.9, 1.1)


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    transfer = Transfer(args.pair, device=args.device, steps=args.steps, store=args.codes).read()
    judge, identity = load_judge(args.judge), Identity()
    report = about(transfer)
    report["people"] = measure_people(args, transfer, judge, identity)
    measured = [row for row in ROWS if all(row in rows for rows in report["people"].values())]
    report["rows"] = {row: mean_figures(p[row] for p in report["people"].values()) for row in measured}
    defaults = transfer.pair.defaults
    report["default"] = "translate" if defaults.way == "translate" else defaults.paste
    report["landmarks_borrowed"] = identity.fallbacks
    count = args.random if args.random is not None else random_count(args.limit)
    report["codes"] = compare_codes(transfer, judge, identity, count, psi=args.psi) if count else None
    report["aims"] = aims(report["rows"], report["default"], report["codes"])
    show(report)
    if args.json:
        report["people"] = {n: {r: asdict(f) for r, f in rows.items()} for n, rows in report["people"].items()}
        write_atomic(args.json, json.dumps(plain(report), indent=1).encode() + b"\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with pairs.zip")
    parser.add_argument("--pair", help="name or folder of the pair")
    parser.add_argument("--limit", type=int, help="people to measure; all of them without")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--steps", type=int, help="of the projection; the pair's own without")
    parser.add_argument("--random", type=int, help=f"random codes; {RANDOM_CODES}, fewer with --limit")
    parser.add_argument("--psi", type=float, default=1.0, help="truncation of the random codes; 1 is none")
    parser.add_argument("--codes", type=Path, help="folder to keep the found codes in, and to take them from")
    parser.add_argument("--judge", type=Path, default=JUDGE_FILE)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def about(transfer: Transfer) -> dict[str, Any]:
    """What was measured, with what, where."""
    pair = transfer.pair
    return {
        "pair": pair.name,
        "sha256": {role: pair.sha256(role) for role in ("real", "rendering")},
        "steps": transfer.options.steps,
        "lr": transfer.options.lr,
        "machine": f"{machine_name(transfer.device)}, {torch.get_num_threads()} threads",
        "refacer": __version__,
        "torch": torch.__version__,
    }


def measure_people(args: argparse.Namespace, transfer: Transfer, judge: Judge, identity: Identity) -> dict[str, Any]:
    """Name -> row -> figures."""
    people = read_people(args.data / "pairs.zip", args.limit)
    network = transfer.whole_perceptual
    console = Console(stderr=True)
    return {
        person.name: figures_of(person, pictures_of(person, transfer), identity, judge, network)
        for person in track(people, "people", console=console, disable=not console.is_terminal)
    }


def random_count(limit: int | None) -> int:
    """As many codes as asked for, fewer for a quick look at a few people."""
    return RANDOM_CODES if limit is None else min(RANDOM_CODES, RANDOM_CODES_A_FACE * limit)


def aims(rows: dict[str, dict[str, float]], default: str, codes: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What the pair's default row should reach, what it reaches, and whether that suffices."""
    row, source = rows[default], rows["input"]
    wanted = {
        "identity to the input": (row["identity_to_input"], "at most", TO_INPUT_AIM),
        "identity to the photo": (row["identity_to_photo"], "at most", TO_PHOTO_AIM),
        "judged photo": (row["photo"], "at least", PHOTO_AIM),
        "L2 to the photo, of the input's": (row["l2_to_photo"] / source["l2_to_photo"], "at most", L2_AIM),
        "perceptual to the photo": (row["perceptual_to_photo"], "at most", source["perceptual_to_photo"]),
        "blurred colour to the photo": (row["color_to_photo"], "at most", source["color_to_photo"]),
        "sharpness of the photo's": (row["sharpness_ratio"], "at least", SHARPNESS_AIM[0]),
        "sharpness of the photo's, no more": (row["sharpness_ratio"], "at most", SHARPNESS_AIM[1]),
    }
    if codes:
        wanted["random codes: realistic called photo"] = (codes["real_called_photo"], "at least", SHARE_AIM)
        wanted["random codes: rendering called cg"] = (codes["rendering_called_cg"], "at least", SHARE_AIM)
        wanted["random codes: identity between them"] = (codes["identity_between"], "at most", IDENTITY_AIM)
    return {
        name: {"value": value, "aim": f"{how} {aim:.3g}", "met": value >= aim if how == "at least" else value <= aim}
        for name, (value, how, aim) in wanted.items()
    }


def show(report: dict[str, Any]) -> None:
    """The tables, on stdout."""
    console = Console()
    console.width = max(console.width, WIDTH)
    table = Table(
        title=f"{report['pair']}: {len(report['people'])} people, {report['steps']} steps, {report['machine']}"
    )
    table.add_column("", no_wrap=True)
    for title in COLUMNS.values():
        table.add_column(title, justify="right", min_width=7)
    for row, figures in report["rows"].items():
        table.add_row(ROWS[row], *(cell(column, figures[column]) for column in COLUMNS))
    console.print(table)
    if report["codes"]:
        print(json.dumps(plain(report["codes"]), indent=1))
    for name, aim in report["aims"].items():
        console.print(f"{'met   ' if aim['met'] else 'missed'}  {name}: {aim['value']:.3f} ({aim['aim']})")


def cell(column: str, value: float) -> str:
    """A figure as the table shows it."""
    if math.isnan(value):
        return "–"
    return f"{value:{FORMATS.get(column, '.3f')}}"


def plain(value: Any) -> Any:
    """The same with rounded numbers and null for what is no number, for JSON."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
