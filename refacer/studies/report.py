"""`refacer study analyse`: a table for people, JSON for programs, and the figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from refacer import __version__, console
from refacer.files import write_atomic
from refacer.options import AnalysisOptions
from refacer.studies.analysis import Analysis, Share, analyse
from refacer.studies.figure import figure
from refacer.studies.folder import KEY, Key, StudyFolder
from refacer.studies.votes import read_votes

SHOWN_PROBLEMS = 10
WIDTH = 140  # the table needs it, whatever the terminal
RESULT, FIGURE = "analysis.json", "figure.svg"


def report(
    paths: Sequence[Path],
    study: Path | None,
    options: AnalysisOptions,
    *,
    output: Path | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Count, show, write. study: its folder, which gives methods their names; None: the one in which the votes lie.

    Raises what read_votes does, and what reading the study's key raises.
    """
    key = _key(paths, study)
    votes = read_votes(paths, key.design if key else None)
    found = analyse(votes, options)
    titles = dict(key.titles) if key else {}
    body = _body(found, titles, dict(key.cases) if key else {}, options)
    for problem in votes.problems[:SHOWN_PROBLEMS]:
        console.warn(problem)
    if len(votes.problems) > SHOWN_PROBLEMS:
        console.warn(f"{len(votes.problems) - SHOWN_PROBLEMS} more lines are left out; --json and -o name them all")
    if not quiet:
        _show(found, titles, options.alpha)
    if as_json:
        console.payload_text(json.dumps(body))
    if output is not None:
        counted = [person for person in votes.people if person.id in found.counted]
        write_atomic(output / FIGURE, figure(found, counted, titles, options.alpha).encode())
        write_atomic(output / RESULT, json.dumps(body, indent=1).encode() + b"\n")


def _key(paths: Sequence[Path], study: Path | None) -> Key | None:
    """The key of the study named, or of the one whose folder holds the votes."""
    if study is not None:
        return StudyFolder(study).read()
    above = (folder for path in paths for folder in (path.resolve(), *path.resolve().parents[:2]))
    place = next((folder for folder in above if (folder / KEY).is_file()), None)
    return StudyFolder(place).read() if place else None


def _body(
    found: Analysis, titles: Mapping[str, str], cases: Mapping[str, str], options: AnalysisOptions
) -> dict[str, Any]:
    """Everything as JSON."""
    design = found.design
    return {
        "refacer": __version__,
        "study": design.id,
        "design": asdict(design),
        "methods": {name: titles.get(name, name) for name in design.methods},
        "cases": dict(cases),
        "analysis": asdict(options),
        "people": {name: asdict(person) for name, person in found.people.items()},
        "excluded": {name: person.excluded for name, person in found.people.items() if person.excluded},
        "pooled": _share(found.pooled),
        "with_the_excluded": _share(found.everyone),
        "rivals": [
            {
                "method": rival.name,
                **_share(rival.share),
                "p_holm": rival.p_holm,
                "p_people_holm": rival.p_people_holm,
            }
            for rival in found.rivals
        ],
        "strengths": [asdict(strength) for strength in found.strengths],
        "first_position": {"chosen": found.first[0], "of": found.first[1]},
        "problems": list(found.problems),
    }


def _share(share: Share) -> dict[str, Any]:
    return {**asdict(share), "share": share.share}


def _show(found: Analysis, titles: Mapping[str, str], alpha: float) -> None:
    """The tables, on stderr."""
    design = found.design
    focal = titles.get(design.focal, design.focal)
    confidence = f"{100 * (1 - alpha):g} %"
    heads = (
        "",
        "chosen",
        "share",
        f"{confidence} Wilson",
        "bootstrap",
        "p",
        "p Holm",
        "people over : under",
        "p people",
        "Holm",
    )
    table = Table(*(Column(head, no_wrap=True) for head in heads), title=f"{focal}, study {design.id}")
    whole = "all pairs" if design.form == "pairs" else "among all"
    table.add_row(whole, *_cells(found.pooled, None, None))
    for rival in found.rivals:
        name = titles.get(rival.name, rival.name)
        table.add_row(f"against {name}", *_cells(rival.share, rival.p_holm, rival.p_people_holm))
    ranks = Table("method", "strength", confidence, "chosen among all", title="choice model")
    for one in found.strengths:
        ranks.add_row(
            titles.get(one.name, one.name), f"{one.strength:+.2f}", _interval(one.interval), f"{one.share:.0%}"
        )
    console.show(table, ranks, width=WIDTH)
    _tell_of_people(found, focal, alpha)


def _tell_of_people(found: Analysis, focal: str, alpha: float) -> None:
    """How many count, how sure each of them is, and who is left out for what reason."""
    counted = list(found.counted.values())
    left = [f"{name}: {person.excluded}" for name, person in found.people.items() if person.excluded]
    significant = sum(one.p <= alpha and one.chosen > one.asked / found.design.choices for one in counted)
    agreed, repeats = sum(one.agreed for one in counted), sum(one.repeats for one in counted)
    console.note(f"{len(counted)} people count, {len(left)} are left out")
    console.note(f"{significant} of them chose {focal} more often than chance explains (p ≤ {alpha:g})")
    console.note(f"{agreed} of {repeats} mirrored repeats were answered as before")
    console.note(f"the first position was chosen {found.first[0]} of {found.first[1]} times")
    for line in left:
        console.note(f"left out: {line}")


def _cells(share: Share, p_holm: float | None, p_people_holm: float | None) -> Iterable[str]:
    yield f"{share.chosen} of {share.of}"
    yield "–" if share.share is None else f"{share.share:.1%}"
    yield _interval(share.wilson)
    yield _interval(share.bootstrap)
    yield f"{share.p:.2g}"
    yield "" if p_holm is None else f"{p_holm:.2g}"
    yield f"{share.above} : {share.below}"
    yield f"{share.p_people:.2g}"
    yield "" if p_people_holm is None else f"{p_people_holm:.2g}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
