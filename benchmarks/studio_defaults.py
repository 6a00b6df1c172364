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

from benchmarks.studio_measures import Identity, identity_distance
from benchmarks.studio_rows import Person, enlarged, finite_mean, read_people
from refacer.options import DecodeOptions
from refacer.stages.run import decoded
from tools.studio.card import markdown
from tools.studio.judge import JUDGE_FILE, Judge, face_mask, load_judge, photo_logits
from tools.studio.transfer import Transfer

HEAD = ("prior", "psi", "distance", "identity: method to input", "to photo", "judged photo")


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    people = read_people(args.data / "pairs.zip", args.limit)
    judge, identity = load_judge(JUDGE_FILE), Identity()
    rows: list[tuple[str, ...]] = []
    for prior in args.priors:
        transfer = Transfer(args.pair, device=args.device, prior=prior, store=args.codes).read()
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
    """One row for each psi."""
    found = [transfer.project(person.name, person.face, "rendering") for person in people]
    distance = fmean(each.distance for each in found)
    for psi in psis:
        options = DecodeOptions(truncation_psi=psi)
        pictures = [decoded(each.codes, transfer.real, options).cpu() for each in found]
        figures = [judged(person, x, identity, judge) for person, x in zip(people, pictures, strict=True)]
        to_input, to_photo, photo = zip(*figures, strict=True)
        prior = f"{transfer.options.prior_weight:g}"
        means = (f"{finite_mean(to_input):.3f}", f"{finite_mean(to_photo):.3f}")
        yield prior, f"{psi:g}", f"{distance:.3f}", *means, f"{sum(photo)} of {len(people)}"


def judged(person: Person, picture: Tensor, identity: Identity, judge: Judge) -> tuple[float, float, bool]:
    """A picture's identity distances to the input and to the true photo, and whether it passes for a photo."""
    shown = [enlarged(picture, person.face.shape[-1]), person.face, person.photo]
    landmarks = [identity.landmarks(each) for each in shown]
    own, face, photo = (
        identity.describe(each, points, landmarks[1:]) for each, points in zip(shown, landmarks, strict=True)
    )
    passes = float(photo_logits(judge, shown[0], face_mask(person.labels))[0]) > 0
    return identity_distance(own, face), identity_distance(own, photo), passes


if __name__ == "__main__":
    main()
