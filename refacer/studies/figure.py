"""The figure of a study, as Fig. 6 of the paper: how many people chose the focal method how often. An SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from refacer.studies.analysis import Analysis
from refacer.studies.statistics import least_significant
from refacer.studies.votes import Person

WIDTH = 640
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 56, 56
BAR_PX, GAP_PX = 18, 6
INK, SOFT, PALE, BAR, STRONG = "#1c1c1c", "#555555", "#dddddd", "#8fb3de", "#1f5fa8"


def figure(analysis: Analysis, people: Sequence[Person], titles: Mapping[str, str], alpha: float) -> str:
    """One panel a set of methods: of pairs one for each rival. people: those who count; titles: by short name."""
    design = analysis.design
    panels, y = [], 0.0
    for methods in design.sets:
        others = [titles.get(name, name) for name in methods if name != design.focal]
        title = f"{titles.get(design.focal, design.focal)} against {', '.join(others)}"
        counts = [_chosen(person, methods, design.focal) for person in people]
        panel, height = _panel(title, counts, len(design.cases), 1 / len(methods), alpha)
        panels.append(f'<g transform="translate(0 {y:g})">{panel}</g>')
        y += height
    label = escape("; ".join(f"{rival.name}: {rival.share.chosen} of {rival.share.of}" for rival in analysis.rivals))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:g}" viewBox="0 0 {WIDTH} {y:g}" '
        f'role="img" aria-label="{label}" font-family="system-ui, sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(panels)}</svg>\n'
    )


def _chosen(person: Person, methods: Sequence[str], focal: str) -> int:
    """How often a person chose the focal method of a set."""
    return sum(a.choice == focal for a in person.of("main") if set(a.trial.shown) == set(methods))


def _panel(title: str, counts: Sequence[int], cases: int, chance: float, alpha: float) -> tuple[str, float]:
    """Bars from `cases` down to 0, and the panel's height."""
    people = Counter(counts)
    most = max([*people.values(), 1])
    wide, step = WIDTH - LEFT - RIGHT, BAR_PX + GAP_PX
    height = TOP + (cases + 1) * step + BOTTOM
    least = least_significant(cases, chance, alpha)
    parts = [_text(LEFT, 22, title, weight="600"), _text(16, TOP - 12, "faces chosen", fill=SOFT)]
    every = max(1, -(-most // 8))
    for tick in range(0, most + 1, every):
        x, foot = LEFT + wide * tick / most, height - BOTTOM
        parts.append(f'<path d="M{x:.1f} {TOP - 4}V{foot}" stroke="{PALE}"/>{_text(x, foot + 18, str(tick), "middle")}')
    parts.append(_text(LEFT + wide / 2, height - 14, f"people (of {len(counts)})", "middle", SOFT))
    y = TOP + (cases - cases * chance) * step + BAR_PX / 2
    parts.append(f'<path d="M{LEFT} {y:.1f}H{LEFT + wide}" stroke="{INK}" stroke-dasharray="5 4"/>')
    parts.append(_text(LEFT + wide + 8, y + 4, "chance", fill=SOFT))
    for count in range(cases, -1, -1):
        y = TOP + (cases - count) * step
        fill = STRONG if least is not None and count >= least else BAR
        length = wide * people[count] / most
        parts.append(_text(LEFT - 8, y + BAR_PX - 4, str(count), "end"))
        if people[count]:
            told = f"{people[count]} people chose it for {count} of {cases} faces"
            bar = f'x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR_PX}" fill="{fill}"'
            parts.append(f"<rect {bar}><title>{told}</title></rect>")
            parts.append(_text(LEFT + length + 6, y + BAR_PX - 4, str(people[count])))
    if least is not None:
        told = f"{least} or more: p ≤ {alpha:g}"
        parts.append(_text(LEFT + wide + 8, TOP + BAR_PX - 4, told, fill=STRONG))
    return "".join(parts), height


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = INK, weight: str = "400") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    halo = 'stroke="#ffffff" stroke-width="3" paint-order="stroke"'
    return f'<text {place} {halo} fill="{fill}" font-weight="{weight}">{escape(text)}</text>'
