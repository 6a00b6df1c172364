"""Put the embedded pair together: a finished `refacer finetune` run and the parser -> refacer/weights/studio.

    python -m tools.studio.assemble --run runs/studio --parser runs/parser.safetensors --out refacer/weights/studio

The run's base must be a from-scratch base, so that both generators and the discriminator are this project's own.
Prints the sizes; refuses to write more than 60 MB.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from refacer.errors import InputRefused, ShapeMismatch, UsageError
from refacer.files import write_atomic
from refacer.networks.stylegan2.networks import Generator
from refacer.weights.loaders import load_studio_parser, read_network
from refacer.weights.pair_json import PairDefaults
from refacer.weights.pairs import Pair, encode_files, load_pair
from refacer.weights.registry import UNSTATED

LICENCE, COMMERCIAL = "CC0-1.0", "yes"
MAX_BYTES = 60_000_000


def main() -> None:
    args = arguments()
    perceptual = json.loads(args.perceptual) if args.perceptual else None
    files = assemble(
        load_pair(str(args.run)),
        args.parser,
        steps=args.steps,
        lr=args.lr,
        psi=args.psi,
        prior=args.prior,
        perceptual=perceptual,
    )
    report = sizes(files)
    for name, data in files.items():
        write_atomic(args.out / name, data)
    print(json.dumps(report, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="finished run of `refacer finetune`")
    parser.add_argument("--parser", type=Path, required=True, help="file of train_parser.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pair")
    parser.add_argument("--steps", type=int, help="of `project` by default; the run's own without")
    parser.add_argument("--lr", type=float, help="of `project` by default; the run's own without")
    parser.add_argument("--psi", type=float, help="of `decode` by default; the run's own without")
    parser.add_argument("--prior", type=float, help="of `project` by default; the run's own without")
    parser.add_argument("--perceptual", help='settings of the stand-in as JSON, e.g. {"blocks": [1, 2, 3]}')
    return parser.parse_args()


def assemble(
    run: Pair,
    parser_file: Path,
    *,
    steps: int | None = None,
    lr: float | None = None,
    psi: float | None = None,
    prior: float | None = None,
    perceptual: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    """The embedded pair's files by name, networks in half precision.

    Raises UsageError for a run whose networks are not free to ship, ShapeMismatch where its generators share no W+.
    """
    if run.licence not in (LICENCE, UNSTATED) or run.commercial == "no":
        raise UsageError(f"{run.folder}: its networks are under {run.licence}; the embedded pair must be {LICENCE}")
    cpu = torch.device("cpu")
    real, rendering = run.generator("real", cpu), run.generator("rendering", cpu)
    check_shared_codes(real, rendering)
    networks: dict[str, nn.Module] = {
        "real": real,
        "rendering": rendering,
        "discriminator": run.discriminator(cpu),
        "parser": parser_of(parser_file),
    }
    own = run.defaults
    chosen = (steps or own.steps, lr or own.lr, psi or own.psi, own.prior if prior is None else prior)
    return encode_files(networks, facts(run, PairDefaults(*chosen), perceptual), {})


def facts(run: Pair, defaults: PairDefaults, perceptual: dict[str, Any] | None) -> dict[str, Any]:
    """What pair.json says beside the networks."""
    shared = {key: run.facts[key] for key in ("resolution", "num_ws", "w_dim", "w_std", "kimg") if key in run.facts}
    if perceptual is None:
        perceptual = dict(run.facts["perceptual"])
    about = {"name": "studio", "licence": LICENCE, "commercial": COMMERCIAL}
    return {**shared, **about, "defaults": asdict(defaults), "perceptual": perceptual}


def check_shared_codes(real: Generator, rendering: Generator) -> None:
    """Both must have the same mapping network and ToRGB layers (Sec. 3.2); raises ShapeMismatch otherwise."""
    theirs = rendering.state_dict()
    for name, tensor in real.state_dict().items():
        shared = name.startswith("mapping.") or ".torgb." in name
        if shared and not (name in theirs and torch.equal(tensor, theirs[name])):
            raise ShapeMismatch(f"the generators differ in {name}; take a run that froze the mapping and ToRGB layers")


def parser_of(path: Path) -> nn.Module:
    """The parser with the configuration of its file, as `encode_files` asks for it."""
    parser = load_studio_parser(path)
    parser.config = read_network(path, "parser")[1]  # type: ignore[assignment]
    return parser


def sizes(files: dict[str, bytes]) -> dict[str, Any]:
    """Bytes of each file and of all; raises InputRefused above MAX_BYTES."""
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        raise InputRefused(f"the pair takes {total / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} fit the wheel")
    return {**{name: len(data) for name, data in files.items()}, "total": total, "total_mb": round(total / 1e6, 2)}


if __name__ == "__main__":
    main()
