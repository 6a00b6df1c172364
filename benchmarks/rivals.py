"""The paper's Table 1 and Fig. 8 on a small world: rules of fine-tuning beside each other, by one command.

    python -m benchmarks.rivals --data DIR --out DIR [--base PAIR] [--kimg 1] [--card FILE]

Fine-tunes --base by each rule on cg.zip of --data, and measures every pair by `refacer eval` against cg.zip and
photo.zip; the studio pair itself, which the paper's rule has trained for longer, is a row that needs no training. The
same command again goes on where it was stopped; with more --kimg it trains on. What the paper measured stands in
columns of its own.
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
from benchmarks.studio import plain
from refacer.files import write_atomic
from refacer.images.sheet_layout import encode_jpeg
from refacer.options import DEFAULT_PAIR
from refacer.weights.pairs import load_pair
from tools.studio.card import markdown, with_section

# Alike in all but the rule: Sec. 4.1's, as benchmarks/ablations.py has it, and batches of 8 as AgileGAN's.
TRAINING = {"batch": "8", "tick": "0.2", "aug": "none", "jitter": "0.03", "gamma": "1.6", "ema-kimg": "0.25"}
RULES: dict[str, dict[str, str]] = {
    "paper": {"sketch-weight": "2e-5", "color-weight": "8"},
    "agile": {},
    "image-guided": {"ema-kimg": "0"},
}
STUDIO = "studio"
TITLES = {
    STUDIO: "ours, the studio pair",
    "paper": "ours (Sec. 3.2)",
    "agile": "AgileGAN's second stage",
    "image-guided": "image-guided (EfficientNet-Lite0)",
}
PAPER: dict[str, tuple[str, str, str]] = {
    STUDIO: ("24.5", "16.3", "0.57"),
    "paper": ("24.5", "16.3", "0.57"),
    "agile": ("62.5", "83.5", "0.14"),
    "image-guided": ("49.9 (StyleGAN-NADA, by text)", "53.8", "0.34"),
}
"""Table 1: FID to DRFHQ, FID to FFHQ, CurricularFace's cosine."""

SOURCE = "the source itself"
COLUMNS = {
    "kimg": "kimg",
    "fid_to_renders": "FID* to renders ↓",
    "fid_to_photos": "FID* to photos ↓",
    "kid_to_renders": "KID* to renders ↓",
    "kid_to_photos": "KID* to photos ↓",
    "identity": "dlib's distance between generators ↓",
}
THEIRS = ("paper: FID to DRFHQ ↓", "paper: FID to FFHQ ↓", "paper: cosine ↑")
SHOWN_CODES, SHOWN_PSI = 6, 0.7


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    rows: dict[str, dict[str, float]] = {}
    for rule in args.rules:
        if rule != STUDIO:
            finetune(args, args.data / "cg.zip", args.out / rule, {"rule": rule, **RULES[rule]})
        rows[rule] = measured(args, rule)
        report = {"images": args.images, "codes": args.codes, "rows": rows}
        write_atomic(args.out / "rivals.json", json.dumps(plain(report), indent=1).encode() + b"\n")
        print(table(rows), flush=True)
    write_atomic(args.out / "rivals.jpg", encode_jpeg(sheet({rule: place_of(args, rule) for rule in rows})))
    if args.card:
        write_atomic(args.card, with_section(args.card.read_text(), "table 1", table(rows)).encode())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with cg.zip and photo.zip")
    parser.add_argument("--base", default=DEFAULT_PAIR, help="pair or base that all rules start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, the figures and the pictures")
    parser.add_argument("--rules", nargs="+", default=list(TITLES), choices=list(TITLES))
    parser.add_argument("--kimg", default="1", help="thousands of images that each rule sees, at least")
    parser.add_argument("--images", type=int, default=2000, help="drawn for FID* and KID*")
    parser.add_argument("--codes", type=int, default=200, help="on which both generators are compared")
    parser.add_argument("--precision", default="auto", help="of the convolutions in training")
    parser.add_argument("--card", type=Path, help="Markdown file whose section `table 1` is rewritten")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def finetune(args: argparse.Namespace, renders: Path, run: Path, options: Mapping[str, str]) -> None:
    """One run of `refacer finetune` on renders, with TRAINING and the options; a finished one stays."""
    flags = [part for name, value in {**TRAINING, **options}.items() for part in (f"--{name}", value)]
    called = ["finetune", str(renders), "--base", args.base, "-o", str(run)]
    rest = ["--kimg", args.kimg, "--precision", args.precision, "--device", args.device]
    subprocess.run([sys.executable, "-m", "refacer", *called, *rest, *flags], check=True)


def place_of(args: argparse.Namespace, rule: str) -> str:
    """The pair of a row."""
    return DEFAULT_PAIR if rule == STUDIO else str(args.out / rule)


def measured(args: argparse.Namespace, rule: str) -> dict[str, float]:
    """The columns, by `refacer eval`, once; what stands in for a published network is named in its file."""
    run = place_of(args, rule)
    kimg = float(load_pair(run).facts["kimg"])
    found = args.out / f"eval-{rule}-{kimg:g}-{args.images}-{args.codes}.json"
    sets = [part for name in ("cg", "photo") for part in ("--against", str(args.data / f"{name}.zip"))]
    flags = ["--images", str(args.images), "--codes", str(args.codes), "--device", args.device, "-o", str(found)]
    if not found.is_file():
        subprocess.run([sys.executable, "-m", "refacer", "eval", "--pair", run, *sets, *flags], check=True)
    return {"kimg": kimg, **columns_of(json.loads(found.read_text())["measures"])}


def columns_of(measures: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The values of `refacer eval` by column: FID and KID of the renders, then of the photos, and the identity."""
    kinds = {kind: [one["value"] for one in measures if one["name"].startswith(kind)] for kind in ("fid", "kid", "id")}
    (fid, fid_photos), (kid, kid_photos), (identity,) = kinds["fid"], kinds["kid"], kinds["id"]
    return dict(zip([*COLUMNS][1:], (fid, fid_photos, kid, kid_photos, identity), strict=True))


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Every rule's figures as Markdown, with the paper's."""
    body = [
        (TITLES[rule], *(f"{figures[column]:.3g}" for column in COLUMNS), *PAPER[rule])
        for rule, figures in rows.items()
    ]
    return markdown(("", *COLUMNS.values(), *THEIRS), body)


@torch.no_grad()
def sheet(runs: Mapping[str, str]) -> Any:
    """Fig. 8: the same codes through the source and through every rule's copy."""
    device = torch.device("cpu")
    pairs = {rule: load_pair(run) for rule, run in runs.items()}
    real = next(iter(pairs.values())).generator("real", device)
    z = torch.randn(SHOWN_CODES, real.z_dim, generator=torch.Generator().manual_seed(0))
    ws = real.mapping.w_avg.lerp(real.mapping(z), SHOWN_PSI)
    lines = [(SOURCE, real.synthesis(ws, noise_mode="const"))]
    lines += [
        (TITLES[rule], pair.generator("rendering", device).synthesis(ws, noise_mode="const"))
        for rule, pair in pairs.items()
    ]
    return sheet_of(lines)


if __name__ == "__main__":
    main()
