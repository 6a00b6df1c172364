"""What `refacer eval` finds: numbers with all that must stand beside them, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Column, Table


@dataclass(frozen=True)
class Measure:
    """One number. of: what was measured; count: pictures, pairs or codes that went into it; spread: a standard
    deviation, of single values or of KID's subsets; better: 'lower' or 'higher'; about: the network."""

    name: str
    value: float
    better: str
    of: str
    count: int
    about: str
    spread: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)


def table_of(measures: Sequence[Measure]) -> Table:
    """A row a measure; what the networks are stands below."""
    notes = dict.fromkeys(f"{m.name}: {m.about}" for m in measures)
    plain = [Column(title, no_wrap=True) for title in ("measure", "value", "±", "better", "n")]
    table = Table(*plain, Column("of", overflow="fold"), caption="\n".join(notes), caption_justify="left")
    for m in measures:
        spread = "" if m.spread is None else f"{m.spread:.4g}"
        table.add_row(m.name, f"{m.value:.4g}", spread, m.better, str(m.count), m.of)
    return table
