"""report.html of a run, in a real browser: it stands alone, nothing is cut, all can be read, keys reach all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.finetuning.identity import RunIdentity

pytestmark = pytest.mark.browser

SCROLLED = """element => new Promise(done => {
    if (element.scrollLeft > 0) done(element.scrollLeft);
    element.addEventListener("scroll", () => done(element.scrollLeft));
    setTimeout(() => done(0), 10000);
})"""
"""How far a key has scrolled; asked in one call, since the page's policy forbids scripts that would ask again."""


class Alike:
    name, about, higher = "identity_distance_dlib", "", False

    def compare(self, a: object, b: object) -> float:
        return 0.25


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cli) -> Path:
    """A finished run of three ticks at 64 pixels whose random pictures are taken for faces."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "faces").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for i, picture in enumerate(noise):
        Image.fromarray(picture).save(folder / f"faces/{i}.png")
    sizes = ("--batch", 2, "--kimg", 0.006, "--tick", 0.002, "--device", "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunIdentity, "_network", Alike())
        ended = cli("finetune", folder / "faces", "-o", folder / "run", *sizes)
    assert ended.code == 0, ended.err
    return folder / "run"


CUT = """() => [...document.querySelectorAll('svg text')].filter((text) => {
    const inner = text.getBoundingClientRect(), outer = text.closest('svg').getBoundingClientRect();
    return inner.left < outer.left || inner.right > outer.right || inner.top < outer.top || inner.bottom > outer.bottom;
}).map((text) => text.textContent)"""

OVERLAPPING = """() => [...document.querySelectorAll('svg')].flatMap((svg) => {
    const boxes = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()]);
    return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
        p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom).map(([b]) => [a, b]));
})"""


@pytest.mark.parametrize("width_px", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_stands_alone_and_can_be_read(run: Path, visit, faint, width_px: int, scheme: str):
    opened = visit(run / "report.html", width_px, scheme)
    page = opened.page
    assert [url for url in opened.requests if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    assert opened.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPPING) == []
    assert faint(page, "h1, h2, p, b, span, th, td, summary, svg text") == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 382) == (scheme == "light")


def test_it_holds_every_part(run: Path, visit):
    page = visit(run / "report.html").page
    headings = page.locator("h2").all_text_contents()
    assert headings == [
        "Losses", "Weighted losses", "Gradients at the picture", "Augmentation and speed",
        "Identity", "Samples", "Options", "Networks", "Hardware and software",
        "Licences",
    ]  # fmt: skip
    charts = page.locator("svg")
    names = page.locator(".charts figcaption b").all_text_contents()
    assert charts.count() == len(names)
    assert {"augment_p", "identity_distance_dlib", "seconds_per_kimg"} <= set(names)
    assert names.count("loss/sketch") == names.count("loss/generator") == 2  # as it is, and weighted
    for i in range(charts.count()):
        told = charts.nth(i).locator("text").all_text_contents()
        assert "images seen (kimg)" in told
        assert charts.nth(i).get_attribute("aria-label").startswith(f"{names[i]}: ")
    licences = page.locator("table").last.inner_text()
    assert "CC0-1.0" in licences
    assert "Apache-2.0" in licences  # of what measured Eq. 2


def test_samples_are_shown_side_by_side_with_their_identity(run: Path, visit):
    page = visit(run / "report.html").page
    samples = page.locator("figure.samples")
    assert samples.count() == 3
    for figure in samples.all():
        image = figure.locator("img")
        assert "realistic generator and, right of it, the rendering one" in image.get_attribute("alt")
        wide, high = image.evaluate("(image) => [image.naturalWidth, image.naturalHeight]")
        assert (wide, high) == (4 * 2 * 64, 2 * 64)
        assert "identity distance dlib 0.25" in figure.locator("figcaption").inner_text()


def test_keys_open_the_table_and_scroll_it(run: Path, visit):
    page = visit(run / "report.html", 420).page
    table = page.locator("details table")
    assert not table.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert table.is_visible()
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert table.locator("tbody tr").count() == len(lines) == 3
    first = dict(zip(table.locator("th[scope=col]").all_text_contents(),
                     table.locator("tbody tr").first.locator("th, td").all_text_contents(), strict=True))  # fmt: skip
    assert float(first["kimg"]) == 0.002
    assert float(first["loss/generator"]) == pytest.approx(lines[0]["means"]["loss/generator"], rel=1e-3)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.locator(".numbers").evaluate(SCROLLED) > 0
