"""Which prior and which psi a pair should take by default: identity and look of the method for each.

    python -m benchmarks.studio_defaults --data DIR --priors 0 0.003 0.01 --psis 1 0.9 0.8 --limit 10

DIR holds pairs.zip. One row for each prior of `project` (P_N+, see refacer/stages/code_prior.py) and each psi of
`decode`: dlib's identity distance to the input and to the true photo, and how many faces the judge calls a photo.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks.studio_measures import Identity
from benchmarks.studio_rows import Person, enlarged, figures_of, mean_figures, read_people
from refacer.evaluation.networks import load_judge
from refacer.networks.judge import Judge
from tools.studio.card import markdown
from tools.studio.train_judge import JUDGE_FILE
from tools.studio.transfer import Projected, Transfer

HEAD = ("prior", "psi", "distance", "identity: method to input", "to photo", "judged photo")


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    people = read_people(args.data / "pairs.zip", args.limit)
    judge, identity = load_judge(JUDGE_FILE), Identity()
    rows: list[tuple[str, ...]] = []
    for prior in args.priors:
        transfer = Transfer(args.pair, device=args.device, store=args.codes, prior=prior).read()
        rows += prior_rows(transfer, people, args.psis, identity, judge)
    print(markdown(HEAD, rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with pairs.zip")
    parser.add_argument("--pair", help="name or folder of the pair")
    parser.add_argument("--priors", type=float, nargs="+", required=True)
    parser.add_argument("--psis", type=float, nargs="+", required=True)
    parser.add_argument("--limit", type=int, help="people to measure; all of them without")
    parser.add_argument("--codes", type=Path, help="folder to keep the found codes in, and to take them from")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def prior_rows(
    transfer: Transfer, people: list[Person], psis: list[float], identity: Identity, judge: Judge
) -> Iterator[tuple[str, ...]]:
    """One row for each psi, with the prior of the transfer's options."""
    network = transfer.whole_perceptual
    found = [transfer.project(person.name, person.face, "rendering") for person in people]
    measured = [
        figures_of(person, pictures_of(person, each, transfer, psis), identity, judge, network)
        for person, each in zip(people, found, strict=True)
    ]
    prior, distance = f"{transfer.options.prior_weight:g}", fmean(each.distance for each in found)
    for psi in psis:
        rows = [figures[f"{psi:g}"] for figures in measured]
        mean = mean_figures(rows)
        identities = (f"{mean['identity_to_input']:.3f}", f"{mean['identity_to_photo']:.3f}")
        photos = sum(row.photo for row in rows)
        yield prior, f"{psi:g}", f"{distance:.3f}", *identities, f"{photos:.0f} of {len(people)}"


def pictures_of(
    person: Person, found: Projected, transfer: Transfer, psis: list[float]
) -> dict[str, tuple[Tensor, float]]:
    """The code decoded with each psi, by its name, beside the input and the true photo; and the seconds it took."""
    size = person.face.shape[-1]
    drawn = {f"{psi:g}": enlarged(transfer.decode(found.codes, psi).cpu(), size) for psi in psis}
    method = {name: (picture, found.seconds) for name, picture in drawn.items()}
    return {"input": (person.face, 0.0), **method, "photo": (person.photo, 0.0)}


if __name__ == "__main__":
    main()
