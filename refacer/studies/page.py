"""The page on which people vote: one file, without anything from elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from refacer.errors import InputRefused
from refacer.studies.design import Design

TEMPLATE = Path(__file__).with_name("study.html")
PLACE = "{{DATA}}"

ALONE = b"connect-src 'none'", b'data-collect=""'
"""What the page says where it stands alone: it may ask nobody for anything."""

COLLECTED = b"connect-src 'self'", b'data-collect="votes"'
"""The same where `refacer study serve` collects: answers go to the page's own server."""


def study_page(design: Design, pictures: Mapping[str, bytes]) -> bytes:
    """The page of a study; pictures: PNGs by "CASE/WHAT"."""
    data = {
        "id": design.id,
        "design": asdict(design),
        "pictures": {key: base64.b64encode(png).decode() for key, png in sorted(pictures.items())},
    }
    text = json.dumps(data).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text).encode()


def collecting(page: bytes) -> bytes:
    """The same page, which sends every answer to its server; raises InputRefused for what is no page of ours."""
    for alone, collected in zip(ALONE, COLLECTED, strict=True):
        if page.count(alone, 0, 4096) != 1:
            raise InputRefused("index.html is not the page of a study; make the study again")
        page = page.replace(alone, collected, 1)
    return page
