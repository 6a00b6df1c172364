"""report.html of a run: one page without scripts or other files, with curves as SVG and pictures inside."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 320, 130, 6
SHOWN_PICTURES = 8
"""Points in time from which the page holds samples."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1080px; padding: 0 1em; color: #222 }
h2 { margin-top: 1.6em } figure { display: inline-block; margin: 0 12px 14px 0; vertical-align: top }
figcaption { font-size: 13px } svg { background: #f6f6f4; display: block } img { max-width: 100%; display: block }
table { border-collapse: collapse; font-size: 13px } td, th { padding: 1px 14px 1px 0; text-align: left }
th { font-weight: normal; color: #666; vertical-align: top }
"""


def report_page(
    title: str,
    ticks: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[tuple[float, bytes]],
    *,
    paired: bool,
) -> str:
    """The page. pictures: (kimg, PNG); paired: each code shows the realistic picture and then the rendering."""
    groups = [
        ("Losses", "means", "as they are, before their weights"),
        ("Weighted losses", "weighted", "as they enter the sum"),
        ("Gradients at the picture", "gradient_relative", "relative to the adversarial loss's"),
    ]
    parts = [f"<h1>{escape(title)}</h1>", _summary(ticks)]
    parts += [
        f"<h2>{escape(name)}</h2><p>{escape(about)}</p>{_charts(ticks, key)}"
        for name, key, about in groups
        if any(tick.get(key) for tick in ticks)
    ]
    parts.append("<h2>Augmentation and speed</h2>")
    parts += [chart(name, _points(ticks, name)) for name in ("augment_p", "seconds_per_kimg")]
    parts.append(_gallery(pictures, paired))
    parts += [f"<h2>{escape(name)}</h2>{table(values)}" for name, values in tables.items()]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _summary(ticks: Sequence[Mapping[str, Any]]) -> str:
    if not ticks:
        return "<p>No tick yet.</p>"
    return f"<p>{len(ticks)} ticks, {ticks[-1]['images_seen'] / 1000:g} thousand images.</p>"


def _charts(ticks: Sequence[Mapping[str, Any]], key: str) -> str:
    """A chart for every name under `key`."""
    names = dict.fromkeys(name for tick in ticks for name in tick.get(key, {}))
    return "".join(chart(name, _points([t.get(key, {}) | _when(t) for t in ticks], name)) for name in names)


def _when(tick: Mapping[str, Any]) -> dict[str, Any]:
    return {"images_seen": tick["images_seen"]}


def _points(ticks: Iterable[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """(kimg, value) wherever there is a finite value."""
    found = ((tick["images_seen"] / 1000, tick.get(name)) for tick in ticks)
    return [(x, float(y)) for x, y in found if y is not None and math.isfinite(y)]


def chart(name: str, points: Sequence[tuple[float, float]]) -> str:
    """One curve with its range and last value; its horizontal axis is kimg."""
    if not points:
        return ""
    low, high = min(y for _, y in points), max(y for _, y in points)
    start, end = points[0][0], points[-1][0]
    across, up = (WIDTH - 2 * MARGIN) / ((end - start) or 1), (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    places = [(MARGIN + (x - start) * across, HEIGHT - MARGIN - (y - low) * up) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>'
    dot = f'<circle cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="2.5" fill="#1f5fa8"/>'
    picture = f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{drawn}{dot}</svg>'
    label = f"<b>{escape(name)}</b> {points[-1][1]:.4g} ({low:.4g} to {high:.4g}, {start:g} to {end:g} kimg)"
    return f"<figure>{picture}<figcaption>{label}</figcaption></figure>"


def _gallery(pictures: Sequence[tuple[float, bytes]], paired: bool) -> str:
    """The same codes at a few points in time."""
    order = "each code through the realistic generator and, right of it, the rendering one" if paired else ""
    shown = "".join(
        f'<p>{kimg:g} kimg</p><img alt="samples at {kimg:g} kimg" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}">'
        for kimg, png in pictures
    )
    return f"<h2>Samples of fixed codes</h2><p>{order}</p>{shown}" if pictures else ""


def table(values: Mapping[str, Any]) -> str:
    """Names and values."""
    rows = (f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in values.items())
    return f"<table>{''.join(rows)}</table>"


def spread(items: Sequence[Any], count: int = SHOWN_PICTURES) -> list[Any]:
    """At most `count` items, evenly, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
