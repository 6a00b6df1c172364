"""A report as one page: before and after of every picture, what was left and why. It asks for nothing from elsewhere.

Pictures go to the disk as they come, each in an element of its own that the browser leaves alone until it is looked at.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from refacer.files.streams import replacing
from refacer.jobs.views import Sizes, View

PAGE_SUFFIXES = (".html", ".htm")
TEMPLATE, PLACE, NAME = Path(__file__).with_name("page.html"), "{{ITEMS}}", "{{NAME}}"
FEW = 100
LARGE, SMALL = Sizes(448, 1024), Sizes(224, 448)
MAX_VIEW_BYTES = 96 * 1024**2
"""Pictures of more are not put into the page: a browser must be able to open it."""


class Page:
    """A page that is being written; the one that was there stays until `close`. Raises OSError."""

    def __init__(self, path: Path, planned: int) -> None:
        self.sizes = LARGE if planned <= FEW else SMALL
        self._folder = Path(os.path.realpath(path)).parent
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open = ExitStack()
        self._stream = self._open.enter_context(replacing(Path(os.path.realpath(path))))
        self._written = self._view_bytes = self._without_views = 0
        head, self._tail = TEMPLATE.read_text(encoding="utf-8").split(PLACE)
        self._stream.write(head.replace(NAME, escape(path.stem)).encode())

    def write(self, line: Mapping[str, Any], views: Sequence[View]) -> None:
        """One item of the report and the pictures of it, as long as there is room."""
        size = sum(len(view.before) + len(view.after or b"") for view in views)
        if self._view_bytes + size > MAX_VIEW_BYTES:
            self._without_views += bool(views)
            views = ()
        else:
            self._view_bytes += size
        links = {"input": self._link(line["input"]), "outputs": [self._link(path) for path in line["outputs"]]}
        number, self._written = self._written, self._written + 1
        self._element("item", f"item-{number}", {**line, "links": links})
        self._element("views", f"views-{number}", [_as_json(view) for view in views])

    def close(self, summary: Mapping[str, Any]) -> None:
        """Write what is known at the end, and put the page in its place."""
        with self._open:
            self._element("summary", "summary", {**summary, "without_views": self._without_views})
            self._stream.write(self._tail.encode())

    def _element(self, kind: str, name: str, value: Any) -> None:
        text = json.dumps(value).replace("<", "\\u003c")
        self._stream.write(f'<script type="application/json" class="{kind}" id="{name}">{text}</script>\n'.encode())

    def _link(self, name: str) -> str | None:
        """A file as the page finds it; None for what is none."""
        path = Path(os.path.abspath(name))
        if not path.is_file():
            return None
        try:
            return quote(os.fsencode(Path(os.path.relpath(path, self._folder)).as_posix()))
        except ValueError:  # on another drive
            return path.as_uri()


def _as_json(view: View) -> dict[str, Any]:
    pictures = (view.before,) if view.after is None else (view.before, view.after)
    encoded = [base64.b64encode(picture).decode() for picture in pictures]
    return {"face": view.face, "width": view.width, "height": view.height, "pictures": encoded}
