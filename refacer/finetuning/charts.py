"""Curves as SVG that needs no script: round numbers on both axes, units, each value where one points at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TypeVar

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 66, 26, 12, 44
"""Of the frame that holds the curve, inside the picture."""

POINTED_AT = 200
"""Most points of a curve that tell their value."""

X_AXIS = "images seen (kimg)"

Point = tuple[float, float]
T = TypeVar("T")


def chart(name: str, points: Sequence[Point], unit: str, about: str = "") -> str:
    """A figure of (kimg, value); unit: of the value; about: what it is. Empty without points."""
    if not points:
        return ""
    note = f" <span>{escape(about)}</span>" if about else ""
    caption = f"<b>{escape(name)}</b> {number(points[-1][1])}{note}"
    return f"<figure><figcaption>{caption}</figcaption>{_drawn(name, points, unit)}</figure>"


def _drawn(name: str, points: Sequence[Point], unit: str) -> str:
    """The picture, with its content in words for those who do not see it."""
    xs, ys = (round_steps(min(values), max(values)) for values in zip(*points, strict=True))
    (left, right), (low, high) = (xs[0], xs[-1]), (ys[0], ys[-1])
    across, up = (WIDTH - LEFT - RIGHT) / (right - left), (HEIGHT - TOP - BOTTOM) / (high - low)

    def place(x: float, y: float) -> Point:
        return LEFT + (x - left) * across, HEIGHT - BOTTOM - (y - low) * up

    parts = [_level(place(left, y)[1], number(y)) for y in ys] + [_moment(place(x, low)[0], number(x)) for x in xs]
    parts += [_text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 6, X_AXIS, "middle"), _upright(unit)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    parts += [f'<polyline points="{line}"/>', *(_dot(place(*p), p) for p in spread(points, POINTED_AT))]
    label = escape(f"{name}: {described(points)}; {unit}, over {X_AXIS}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def described(points: Sequence[Point]) -> str:
    """First, last, least and greatest value, in words."""
    (first, last), values = (points[0], points[-1]), [y for _, y in points]
    ends = f"{number(first[1])} at {number(first[0])} kimg, {number(last[1])} at {number(last[0])} kimg"
    return f"{ends}, from {number(min(values))} to {number(max(values))}"


def number(value: float) -> str:
    """Four digits at most, without an exponent where that is readable."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.3g}"


def round_steps(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers at equal distances, at least two, from `low` or below to `high` or above."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: from zero to twice it
        low, high = min(0.0, 2 * low), max(0.0, 2 * high) or (1.0 if low == 0 else 0.0)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _level(y: float, text: str) -> str:
    return f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>{_text(LEFT - 6, y + 4, text, "end")}'


def _moment(x: float, text: str) -> str:
    bottom = HEIGHT - BOTTOM
    return f'<path d="M{x:.1f} {bottom}v4"/>{_text(x, bottom + 19, text, "middle")}'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _upright(text: str) -> str:
    """The unit beside the vertical axis, read from below."""
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    turned = f'transform="rotate(-90 11 {middle:.1f})"'
    return _text(11, middle, text, "middle").replace("<text ", f"<text {turned} ", 1)


def _dot(place: Point, point: Point) -> str:
    """A point that shows its value when a mouse rests on it."""
    title = f"{number(point[1])} at {number(point[0])} kimg"
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="2.2"><title>{title}</title></circle>'
