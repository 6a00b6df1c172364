"""The page on which a person looks through a data set: one file, without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("review.html")
PLACE = "{{DATA}}"


def review_page(rows: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, bytes]) -> bytes:
    """The page over faces in this order; thumbnails: JPEGs by name.

    Its memory in the browser belongs to exactly these faces and verdicts: a new verdict of ours starts it anew.
    """
    faces = [
        {
            "name": row["name"],
            "sources": row["sources"],
            "reasons": row["reasons"],
            "twin": row["twin"],
            "measures": f"{row['side_px']:.0f} px, blur {row['blur']:.2f}, score {row['score']:.2f}",
            "picture": base64.b64encode(thumbnails[row["name"]]).decode(),
        }
        for row in rows
    ]
    state = json.dumps([[face["name"], face["reasons"]] for face in sorted(faces, key=lambda face: face["name"])])
    data = json.dumps({"id": hashlib.sha256(state.encode()).hexdigest()[:16], "faces": faces})
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, data.replace("<", "\\u003c")).encode()
