"""Put the embedded pair together: a finished `refacer finetune` run, the parser, what `refacer distill` made of both.

    python -m tools.studio.assemble --run runs/studio --parser runs/parser.safetensors --out refacer/weights/studio

The run's base must be a from-scratch base, so that both generators and the discriminator are this project's own.
`--range` projects renders with the pair's own settings; without it a run's range stays where these are the run's.
Prints the sizes; refuses to write more than 60 MB.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import torch
from torch import nn

from refacer.errors import InputRefused, ShapeMismatch, UsageError
from refacer.files import write_atomic
from refacer.finetuning.pair_range import faces_of, measured_range
from refacer.networks.encoders import FaceEncoder
from refacer.networks.stylegan2.networks import Generator
from refacer.options import Axes, Paste, Way
from refacer.training.dataset import FaceDataset
from refacer.weights.loaders import load_studio_parser
from refacer.weights.pair_json import FACTS, PairDefaults
from refacer.weights.pairs import NETWORKS, Pair, encode_files, load_pair
from refacer.weights.registry import UNSTATED

LICENCE, COMMERCIAL = "CC0-1.0", "yes"
MAX_BYTES = 60_000_000
RANGE_FACES = 200
"""Renders that are projected by default: the 99th percentile is then between the second and the third farthest."""


def main() -> None:
    args = arguments()
    run = load_pair(str(args.run))
    chosen = {item.name: getattr(args, item.name) for item in fields(PairDefaults)}
    defaults = replace(run.defaults, **{name: value for name, value in chosen.items() if value is not None})
    perceptual = json.loads(args.perceptual) if args.perceptual else None
    renders = FaceDataset([args.range], run.resolution, mirror=False) if args.range else None
    others = {"translator": args.translator, "encoder": args.encoder}
    files = assemble(run, args.parser, defaults, perceptual, others, renders, args.range_faces)
    report = sizes(files)
    for name, data in files.items():
        write_atomic(args.out / name, data)
    print(json.dumps(report, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="finished run of `refacer finetune`")
    parser.add_argument("--parser", type=Path, required=True, help="file of train_parser.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pair")
    parser.add_argument("--translator", type=Path, help="file of a run of `refacer distill`; the run's own without")
    parser.add_argument("--encoder", type=Path, help="file of `refacer train-encoder`; the run's own without")
    parser.add_argument("--encoder-steps", type=int, help="of `project` from the encoder; the run's own without")
    parser.add_argument("--encoder-lr", type=float, help="of `project` from the encoder; the run's own without")
    parser.add_argument("--steps", type=int, help="of `project` by default; the run's own without")
    parser.add_argument("--lr", type=float, help="of `project` by default; the run's own without")
    parser.add_argument("--psi", type=float, help="of `decode` by default; the run's own without")
    parser.add_argument("--axes", choices=get_args(Axes), help="of `project` by default; the run's own without")
    parser.add_argument("--prior", type=float, help="of `project` by default; the run's own without")
    parser.add_argument("--paste", choices=get_args(Paste), help="of `composite` by default; the run's own without")
    parser.add_argument("--strength", type=float, help="of a change by default; the run's own without")
    parser.add_argument("--way", choices=get_args(Way), help="of `run` by default; the run's own without")
    parser.add_argument("--perceptual", help='settings of the stand-in as JSON, e.g. {"blocks": [1, 2, 3]}')
    parser.add_argument("--range", type=Path, help="folder or zip of renders to project, by which the range is known")
    parser.add_argument("--range-faces", type=int, default=RANGE_FACES, help="of them, at most")
    return parser.parse_args()


def assemble(
    run: Pair,
    parser_file: Path,
    defaults: PairDefaults,
    perceptual: dict[str, Any] | None = None,
    others: Mapping[str, Path | None] = MappingProxyType({}),
    renders: FaceDataset | None = None,
    range_faces: int = RANGE_FACES,
) -> dict[str, bytes]:
    """The embedded pair's files by name, networks in half precision.

    perceptual: None for the run's own. others: files of further networks by role, where they are not the run's own
    ones. renders: at the pair's resolution; up to `range_faces` of them are projected.
    Raises UsageError for a run whose networks are not free to ship and for defaults that no pair can have,
    ShapeMismatch where its generators share no W+, InputRefused for a file of another network.
    """
    if run.licence not in (LICENCE, UNSTATED) or run.commercial == "no":
        raise UsageError(f"{run.folder}: its networks are under {run.licence}; the embedded pair must be {LICENCE}")
    if not FACTS["defaults"](asdict(defaults)):
        raise UsageError(f"these cannot be a pair's defaults: {asdict(defaults)}")
    cpu = torch.device("cpu")
    real, rendering = run.generator("real", cpu), run.generator("rendering", cpu)
    check_shared_codes(real, rendering)
    networks: dict[str, nn.Module] = {
        "real": real,
        "rendering": rendering,
        "discriminator": run.discriminator(cpu),
        "parser": load_studio_parser(parser_file),
    }
    for role in ("translator", "encoder"):
        file = others.get(role) or (run.path(role) if run.has(role) else None)
        if file is not None:
            networks[role] = NETWORKS[role].load(file)
    about = facts(run, defaults, perceptual)
    if renders is not None:
        pair, encoder = replace(run, facts={**run.facts, **about}), networks.get("encoder")
        assert encoder is None or isinstance(encoder, FaceEncoder)
        about["range"] = measured_range(pair, rendering, faces_of(renders, range_faces, cpu), encoder)
    return encode_files(networks, about, {})


def facts(run: Pair, defaults: PairDefaults, perceptual: dict[str, Any] | None) -> dict[str, Any]:
    """What pair.json says beside the networks; the run's range only where it was measured as this pair projects."""
    names = ("resolution", "num_ws", "w_dim", "w_std", "kimg")
    if perceptual is None:
        perceptual = dict(run.facts["perceptual"])
    names_of_schedule = ("steps", "lr", "prior", "axes", "encoder_steps", "encoder_lr")
    same = all(getattr(defaults, name) == getattr(run.defaults, name) for name in names_of_schedule)
    if same and perceptual == run.facts["perceptual"]:
        names = (*names, "range")
    shared = {key: run.facts[key] for key in names if key in run.facts}
    about = {"name": "studio", "licence": LICENCE, "commercial": COMMERCIAL}
    chosen = {name: value for name, value in asdict(defaults).items() if value is not None}
    return {**shared, **about, "defaults": chosen, "perceptual": perceptual}


def check_shared_codes(real: Generator, rendering: Generator) -> None:
    """Both must have the same mapping network and ToRGB layers (Sec. 3.2); raises ShapeMismatch otherwise."""
    theirs = rendering.state_dict()
    for name, tensor in real.state_dict().items():
        shared = name.startswith("mapping.") or ".torgb." in name
        if shared and not (name in theirs and torch.equal(tensor, theirs[name])):
            raise ShapeMismatch(f"the generators differ in {name}; take a run that froze the mapping and ToRGB layers")


def sizes(files: dict[str, bytes]) -> dict[str, Any]:
    """Bytes of each file and of all; raises InputRefused above MAX_BYTES."""
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        raise InputRefused(f"the pair takes {total / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} fit the wheel")
    return {**{name: len(data) for name, data in files.items()}, "total": total, "total_mb": round(total / 1e6, 2)}


if __name__ == "__main__":
    main()
