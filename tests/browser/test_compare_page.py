"""The page of `refacer compare`: pictures load from the disk, and a slider shows any two of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.comparison.measures import Column
from refacer.comparison.page import compare_page
from refacer.comparison.tables import Row, Table

SEEN = "h1, h2, p, b, span, th, td, summary, svg text"

pytestmark = pytest.mark.browser
METHODS = {"inputs": 40, "ours": 120, "direct": 200}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """Grey pictures of two faces; one method lacks the second, whose name is an awkward one."""
    place = tmp_path_factory.mktemp("compared")
    faces = {"a": list(METHODS), "deep/b #1": ["inputs", "ours"]}
    for name, columns in faces.items():
        for column in columns:
            path = place / column / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32, 3), METHODS[column], np.uint8)).save(path)
    columns = {"l2": Column("L2 to input", "lower", "mean square, at <32> px")}
    rows = [Row(name, f"method {name}", 2, {"l2": 0.5}) for name in METHODS]
    (place / "index.html").write_bytes(compare_page(Table(columns, rows), faces))
    return place


def widths(page) -> list[int]:
    return page.locator("#stage img").evaluate_all(
        "async (all) => { for (const i of all) if (i.src) await i.decode(); return all.map((i) => i.naturalWidth); }"
    )


def test_any_two_are_compared_by_keys_and_by_pulling(compared, visit):
    opened = visit(compared / "index.html")
    page = opened.page
    assert widths(page) == [32, 32]
    page.locator("#from").select_option("direct")
    assert page.locator("#left").get_attribute("alt") == "a, direct"
    page.locator("#cut").focus()
    page.keyboard.press("End")
    assert (
        page.evaluate("document.getElementById('edge').offsetLeft")
        >= page.locator("#stage").bounding_box()["width"] - 2
    )
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 100)
    page.mouse.up()
    assert page.locator("#cut").input_value() == "25"
    page.locator("#swap").click()
    assert page.locator("#to").input_value() == "direct"
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    assert page.locator("#said-right").inner_text() == "direct: no picture"
    page.locator("#to").select_option("inputs")
    assert widths(page) == [32, 32]
    assert opened.complaints == []
    assert [url for url in opened.requests if url.startswith(("http", "ws"))] == []


@pytest.mark.parametrize("width_px", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(compared, visit, faint, width_px, scheme):
    page = visit(compared / "index.html", width_px, scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert faint(page, SEEN) == []
    assert page.locator("tbody tr").count() == 3
    assert page.locator("thead th").all_text_contents() == ["method", "faces", "L2 to input ↓"]
    assert page.locator("#about").inner_text() == "L2 to input: mean square, at <32> px"
