"""report.html of a run: one page without scripts or other files, with curves as SVG and pictures inside."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from refacer.finetuning.charts import Point, chart, number, spread

STYLE = Path(__file__).with_name("training_report.css")

SHOWN_PICTURES = 8
"""Points in time from which the page holds samples."""

SHOWN_ROWS = 60
"""Points in time of the table; log.jsonl has all."""

FORBIDDEN = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser is told to refuse: everything that is not in the page."""

NOTHING_COMPARED = "Not measured: see log.txt for why."

NO_UNIT = "no unit"
UNKNOWN = (NO_UNIT, "")

TERMS: Mapping[str, tuple[str, str]] = {
    "loss/generator": ("nats", "adversarial loss of the generator"),
    "loss/discriminator": ("nats", "adversarial loss of the discriminator; of a translator's, the hinge loss"),
    "loss/likeness": ("mean |difference|", "between translated and drawn photographs, in [-1, 1]"),
    "loss/coarse": ("mean |difference|", "the same between their means over squares"),
    "loss/realism": ("mean logit", "adversarial loss of the translator: minus the verdict on translated renders"),
    "change": ("mean |difference|", "between both looks of the examples: what likeness is to be seen beside"),
    "loss/sketch": ("sum of |differences|", "Eq. 1, between the two sketches of a code, as at 512 pixels"),
    "loss/color": ("perceptual distance", "Eq. 2, between the two blurred pictures of a code"),
    "loss/similarity": ("perceptual distance", "between the two pictures of a code"),
    "loss/direction": ("1 − cosine", "between the way from one picture of a code to the other and the one asked for"),
    "loss/r1": ("squared gradient norm", "of the discriminator's verdict at real pictures"),
    "loss/path_length": ("squared deviation", "of the path length from its mean"),
    "signs/real": ("mean sign, −1 to 1", "of the discriminator's verdicts on real pictures; ADA watches it"),
    "signs/fake": ("mean sign, −1 to 1", "of the discriminator's verdicts on generated pictures"),
    "augment_p": ("probability, 0 to 1", "ADA's p, of each augmentation"),
    "seconds_per_kimg": ("seconds per kimg", "time for a thousand images"),
    "sketch": ("share of the adversarial one", "gradient of the weighted sketch loss"),
    "similarity": ("share of the adversarial one", "gradient of the weighted perceptual distance"),
    "color": ("share of the adversarial one", "gradient of the weighted colour loss"),
    "identity_distance_dlib": ("distance", "between a sample's two faces; below 0.6 is one person for dlib's network"),
    "identity_similarity_curricularface": ("cosine", "between a sample's two faces; 1 is the same face"),
    "codes_with_faces": ("samples", "of the first eight in which both pictures show a face"),
}
"""The unit of each number of a tick, and a few words on it."""

Numbers = Mapping[str, float]


def report_page(
    title: str,
    ticks: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[tuple[float, bytes]],
    *,
    sample_order: str = "",
) -> str:
    """The page. ticks: lines of the log; tables: by heading; pictures: (kimg, PNG).

    sample_order: what the pictures of a code show, side by side, in words; empty where a code has only one, and then
    no identities are compared.
    """
    parts = [f"<h1>{escape(title)}</h1>", _summary(ticks), *_curves(ticks)]
    if sample_order:
        note = "" if any(tick.get("identity") for tick in ticks) else NOTHING_COMPARED
        parts.append(_section("Identity", note or "between the two pictures of each sample below", ticks, "identity"))
    parts += [_gallery(pictures, sample_order, {tick["images_seen"] / 1000: _compared(tick) for tick in ticks})]
    parts += [f"<h2>{escape(name)}</h2>{_table(values)}" for name, values in tables.items()]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{FORBIDDEN}">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style>"
    )
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'


def _summary(ticks: Sequence[Mapping[str, Any]]) -> str:
    if not ticks:
        return "<p>No tick yet.</p>"
    return f"<p>{len(ticks)} ticks, {ticks[-1]['images_seen'] / 1000:g} thousand images.</p>"


def _curves(ticks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every number of the ticks over time, and a table of them."""
    return [
        _section("Losses", "as they are, before their weights", ticks, "means"),
        _section("Weighted losses", "as they enter the sum", ticks, "weighted"),
        _section("Gradients at the picture", "relative to the adversarial loss's", ticks, "gradient_relative"),
        _section("Augmentation and speed", "", ticks, ""),
        _numbers(ticks),
    ]


def _section(name: str, note: str, ticks: Sequence[Mapping[str, Any]], key: str) -> str:
    """A heading, a line and the curves under `key`; empty without any, unless the note says why."""
    values = [_values(tick, key) for tick in ticks]
    weighed = key == "weighted"
    charts = [
        chart(
            term,
            _points(ticks, values, term),
            NO_UNIT if weighed else TERMS.get(term, UNKNOWN)[0],
            f"weight {number(weight)}" if weighed and (weight := _weight(ticks, term)) else TERMS.get(term, UNKNOWN)[1],
        )
        for term in dict.fromkeys(term for numbers in values for term in numbers)
    ]
    shown = f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""
    said = f"<p>{escape(note)}</p>" if note else ""
    return f"<h2>{escape(name)}</h2>{said}{shown}" if shown or note == NOTHING_COMPARED else ""


def _values(tick: Mapping[str, Any], key: str) -> dict[str, float]:
    """The numbers under `key`, or without one those of ADA and speed; the adversarial gradient is 1 by definition."""
    if not key:
        return {name: tick[name] for name in ("augment_p", "seconds_per_kimg") if name in tick}
    return {name: value for name, value in tick.get(key, {}).items() if name != "adversarial"}


def _weight(ticks: Iterable[Mapping[str, Any]], term: str) -> float | None:
    """What a term is multiplied with, read from the last tick that has it."""
    found = [(tick.get("weighted", {}).get(term), tick.get("means", {}).get(term)) for tick in ticks]
    return next((weighted / mean for weighted, mean in reversed(found) if weighted is not None and mean), None)


def _points(ticks: Iterable[Mapping[str, Any]], values: Iterable[Numbers], name: str) -> list[Point]:
    """(kimg, value) wherever there is a finite value."""
    found = ((tick["images_seen"] / 1000, numbers.get(name)) for tick, numbers in zip(ticks, values, strict=True))
    return [(x, float(y)) for x, y in found if y is not None and math.isfinite(y)]


def _numbers(ticks: Sequence[Mapping[str, Any]]) -> str:
    """The same numbers as a table, for those whom a curve does not serve."""
    if not ticks:
        return ""
    rows = [_values(tick, "means") | _values(tick, "") | _values(tick, "identity") for tick in ticks]
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("kimg", *names))
    lines = [
        _row(tick["images_seen"] / 1000, [row.get(name) for name in names])
        for tick, row in spread(list(zip(ticks, rows, strict=True)), SHOWN_ROWS)
    ]
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<details><summary>These numbers as a table</summary>{_wide('numbers', 'numbers by tick', whole)}</details>"


def _row(kimg: float, values: Iterable[float | None]) -> str:
    cells = "".join(f"<td>{'' if value is None else number(value)}</td>" for value in values)
    return f'<tr><th scope="row">{number(kimg)}</th>{cells}</tr>'


def _wide(kind: str, label: str, content: str) -> str:
    """What scrolls sideways on a narrow screen, by keys too."""
    return f'<div class="wide {kind}" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def _compared(tick: Mapping[str, Any]) -> str:
    """The identity measured at a tick, in words."""
    found = [f"{name.replace('_', ' ')} {number(value)}" for name, value in tick.get("identity", {}).items()]
    return ", ".join(found)


def _gallery(pictures: Sequence[tuple[float, bytes]], order: str, notes: Mapping[float, str]) -> str:
    """The same samples at a few points in time. notes: by kimg."""
    shown = "".join(_sample(kimg, png, order, notes.get(kimg, "")) for kimg, png in pictures)
    said = f"<p>{order}</p>" if order else ""
    return f"<h2>Samples</h2>{said}{shown}" if pictures else ""


def _sample(kimg: float, png: bytes, order: str, note: str) -> str:
    """The picture of one point in time."""
    alt = f"samples at {kimg:g} kimg{f': {order}' if order else ''}"
    image = f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    caption = f"<figcaption><b>{kimg:g} kimg</b> <span>{escape(note)}</span></figcaption>"
    scrolled = _wide("grid", f"pictures at {kimg:g} kimg", image)
    return f'<figure class="samples">{caption}{scrolled}</figure>'


def _table(values: Mapping[str, Any]) -> str:
    """Two columns: names and values."""
    rows = (
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(_in_words(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _in_words(value: Any) -> str:
    """A value as it would be typed or said."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    return "not set" if value is None else str(value)
