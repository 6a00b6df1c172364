"""The table of a comparison: for programs, for documents, for spreadsheets."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from rich.table import Column as RichColumn
from rich.table import Table as RichTable

from refacer.comparison.measures import Column, Figures

SECONDS = "seconds"
ARROWS = {"lower": " ↓", "higher": " ↑"}


@dataclass(frozen=True)
class Row:
    """A method: its title, on how many faces it was measured, and its value by column."""

    name: str
    title: str
    count: int
    values: Figures


@dataclass(frozen=True)
class Table:
    """What is known of each method, with a column a measure."""

    columns: Mapping[str, Column]
    rows: Sequence[Row]

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        columns = {name: asdict(column) for name, column in self.columns.items()}
        rows = {row.name: {"title": row.title, "faces": row.count, **row.values} for row in self.rows}
        return {"columns": columns, "rows": rows}

    def to_markdown(self) -> str:
        """The table, then what measured each column; an arrow says which way is better."""
        heads = [f"{column.title}{ARROWS.get(column.better, '')}" for column in self.columns.values()]
        lines = [_line(["method", "", "faces", *heads]), _line(["---", "---", *["--:"] * (len(heads) + 1)])]
        lines += [_line([row.name, row.title, str(row.count), *self.cells(row)]) for row in self.rows]
        notes = dict.fromkeys(f"- {column.title}: {column.about}" for column in self.columns.values())
        return "\n".join([*lines, "", *notes, ""])

    def to_rich(self) -> RichTable:
        """For a terminal: methods across."""
        table = RichTable("", *(RichColumn(row.name, justify="right") for row in self.rows))
        values = zip(*(self.cells(row) for row in self.rows), strict=True)
        for column, cells in zip(self.columns.values(), values, strict=True):
            table.add_row(f"{column.title}{ARROWS.get(column.better, '')}", *cells)
        return table

    def to_csv(self) -> str:
        """A line a method, with all digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["method", "title", "faces", *self.columns])
        for row in self.rows:
            values = (row.values.get(name) for name in self.columns)
            writer.writerow([row.name, row.title, row.count, *("" if value is None else value for value in values)])
        return text.getvalue()

    def cells(self, row: Row) -> list[str]:
        """The values of a row as people read them."""
        return [_shown(row.values.get(name), column.digits) for name, column in self.columns.items()]


def row_of(name: str, title: str, figures: Sequence[Figures], seconds: Sequence[float], more: Figures) -> Row:
    """The means over faces; what was not found counts in no mean. Of seconds the median. more: figures of the set."""
    names = dict.fromkeys(name for one in figures for name in one)
    known = {name: [value for one in figures if (value := one.get(name)) is not None] for name in names}
    means: Figures = {name: fmean(values) if values else None for name, values in known.items()}
    return Row(name, title, len(figures), {**means, **more, SECONDS: median(seconds) if seconds else None})


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
