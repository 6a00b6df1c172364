"""Thumbnails, and contact sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from refacer.types import Rgb

THUMB_PX = 160
THUMB_QUALITY = 82
COLUMNS, ROWS = 10, 8
CAPTION_PX, FONT_PX, GAP_PX = 14, 10, 4
PAPER, INK = (24, 24, 24), (220, 220, 220)


def encode_thumbnail(rgb: Rgb) -> bytes:
    """A square picture, (S, S, 3) uint8, as a small JPEG."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.BOX)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=THUMB_QUALITY)
    return buffer.getvalue()


def contact_sheet(cells: Sequence[tuple[bytes, str]]) -> bytes:
    """One PNG of up to COLUMNS x ROWS thumbnails (JPEG bytes) with a caption below each."""
    width, height = THUMB_PX + GAP_PX, THUMB_PX + CAPTION_PX + GAP_PX
    rows = -(-len(cells) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + GAP_PX, max(rows, 1) * height + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for index, (thumbnail, caption) in enumerate(cells):
        left, top = GAP_PX + index % COLUMNS * width, GAP_PX + index // COLUMNS * height
        with Image.open(BytesIO(thumbnail)) as picture:
            sheet.paste(picture, (left, top))
        draw.text((left, top + THUMB_PX), caption, INK, font)
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def sheets_of(cells: Sequence[tuple[bytes, str]]) -> list[bytes]:
    """As many contact sheets as it takes."""
    size = COLUMNS * ROWS
    return [contact_sheet(cells[start : start + size]) for start in range(0, len(cells), size)]
