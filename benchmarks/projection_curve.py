"""The figures of `benchmarks/projection.py` as a curve: how near a way comes to a face, by what it costs.

    python benchmarks/projection_curve.py benchmarks/projection.json docs/inversion_curve.svg

Cost is counted in steps of Eq. 4, which all cost the same: seconds depend on what else the machine does meanwhile. One
look of the studio pair's encoder costs half a step; those of the others are told by their seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import pyplot

from refacer.files import write_atomic

PAPER, PAPERS_STEPS, LOOK = "paper", 500, 0.5
FROM_ENCODER = re.compile(r"encoder(?:\+(\d+)@.*)?")
LOOK_OF = re.compile(r"(.*), look (\d+)")
FROM_AVERAGE = re.compile(r"(?:codes|styles)\+(\d+)@.*")


class Point(NamedTuple):
    """A way: its name, what it costs in steps, the distance of Eq. 4."""

    name: str
    steps: float
    distance: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path, help="what `benchmarks/projection.py --json` wrote")
    parser.add_argument("picture", type=Path, help="an SVG file to write")
    args = parser.parse_args()
    write_atomic(args.picture, drawn(list(points(json.loads(args.figures.read_text())["rows"]))))


def points(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Point]:
    """The rows by cost; the paper's must be among them."""
    a_step = rows[PAPER]["seconds"] / PAPERS_STEPS
    for name, row in rows.items():
        steps = row["seconds"] / a_step
        if name == PAPER:
            steps = PAPERS_STEPS
        elif found := FROM_ENCODER.fullmatch(name):
            steps = LOOK + int(found[1] or 0)
        elif found := FROM_AVERAGE.fullmatch(name):
            steps = int(found[1])
        if (looks := LOOK_OF.fullmatch(name)) is None:
            yield Point(name, steps, row["distance"])
        elif f"{looks[1]}, look {int(looks[2]) + 1}" not in rows:  # the last of them
            yield Point(f"{looks[1]}, {looks[2]} looks", steps, row["distance"])


def drawn(found: list[Point]) -> bytes:
    """The curve as SVG, the studio pair's own way joined by a line."""
    pyplot.rcParams["svg.hashsalt"] = "refacer"  # the same figures give the same file
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2))
    own = sorted((one for one in found if FROM_ENCODER.fullmatch(one.name)), key=lambda one: one.steps)
    axes.plot([one.steps for one in own], [one.distance for one in own], "o-", label="from the pair's encoder")
    others = [one for one in found if one not in own]
    axes.plot([one.steps for one in others], [one.distance for one in others], "s", label="others")
    for i, one in enumerate(sorted(others, key=lambda one: one.distance)):
        place = (0, -14 if i % 2 else 6)  # in turn above and below, for some lie close together
        axes.annotate(one.name, one[1:], textcoords="offset points", xytext=place, fontsize=8, ha="center")
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.12)
    axes.set_xlabel("cost, in steps of Eq. 4")
    axes.set_ylabel("distance of Eq. 4")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


if __name__ == "__main__":
    main()
