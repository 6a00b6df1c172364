"""What people look at: a sheet of all pictures, and the page on which any two are compared by a slider."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from refacer.comparison.tables import Table
from refacer.images.sheet_layout import PAPER, captioned, encode_jpeg, fitted, row_of, stacked
from refacer.types import Rgb

TEMPLATE = Path(__file__).with_name("compare.html")
PLACE = "{{DATA}}"
CELL_PX, FACES_A_SHEET = 192, 8


def sheets_of(faces: Mapping[str, Mapping[str, Rgb]], columns: Sequence[str]) -> dict[str, bytes]:
    """sheet-1.jpg, sheet-2.jpg ...: faces down, columns across; what is not there stays blank.

    faces: pictures by face and column.
    """
    rows = [_row(name, pictures, columns) for name, pictures in faces.items()]
    starts = range(0, len(rows), FACES_A_SHEET)
    return {
        f"sheet-{i + 1}.jpg": encode_jpeg(stacked(rows[start : start + FACES_A_SHEET]))
        for i, start in enumerate(starts)
    }


def _row(name: str, pictures: Mapping[str, Rgb], columns: Sequence[str]) -> Rgb:
    blank = np.full((CELL_PX, CELL_PX, 3), PAPER, np.uint8)
    cells = [fitted(pictures[one], CELL_PX, CELL_PX) if one in pictures else blank for one in columns]
    names = [name, *[""] * (len(columns) - 1)]
    return row_of([captioned(*one) for one in zip(cells, names, [[column] for column in columns], strict=True)])


def compare_page(table: Table, faces: Mapping[str, Sequence[str]]) -> bytes:
    """The page; faces: the columns that have a picture of each. Pictures lie beside it as COLUMN/FACE.png."""
    data = {
        "rows": [
            {"name": row.name, "title": row.title, "faces": row.count, "cells": table.cells(row)} for row in table.rows
        ],
        "columns": [asdict(column) for column in table.columns.values()],
        "faces": [{"name": name, "of": list(columns)} for name, columns in faces.items()],
    }
    text = json.dumps(data).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text).encode()
