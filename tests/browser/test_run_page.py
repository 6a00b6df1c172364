"""`run --report out.html`, in a real browser: compared by keys alone, and a thousand pictures without a stall."""

import shutil
from pathlib import Path

import pytest

from refacer.files import encode_preview, read_source
from refacer.jobs.page import Page
from refacer.jobs.views import View

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, cli, look: Path, two: Path, bare: Path) -> Path:
    """The page of four pictures, two of which fail; one name needs care in a link."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "in").mkdir()
    for path, name in ((look, "look #1.png"), (two, "two.png"), (bare, "bare.png")):
        shutil.copy(path, folder / "in" / name)
    (folder / "in/<b>broken.png").write_bytes(b"no picture")
    ended = cli("run", folder / "in", "-o", folder / "out", "--report", folder / "report.html", "--device", "cpu")
    assert ended.code == 1
    return folder / "report.html"


def names(page) -> list[str]:
    return page.locator("#list li div > span").all_text_contents()


def at(page) -> list[str]:
    """Where every slider of the page stands."""
    return page.locator(".pair input").evaluate_all("(all) => all.map((slider) => slider.value)")


@pytest.mark.parametrize("width_px", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_stands_alone_and_can_be_read(report: Path, visit, faint, width_px: int, scheme: str):
    opened = visit(report, width_px, scheme)
    page = opened.page
    page.keyboard.press("End")
    page.locator("summary").evaluate_all("(all) => all.forEach((one) => one.click())")
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.as_uri()]
    assert opened.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert faint(page, "h1, h2, b, span, small, th, td, a, summary, figcaption, kbd") == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 382) == (scheme == "light")


def test_what_failed_comes_first_and_says_why(report: Path, visit):
    page = visit(report).page
    assert names(page)[:2] == ["<b>broken.png", "bare.png"]
    assert "not a PNG" in page.locator("#facts").inner_text()
    rows = page.locator("#list li small").all_text_contents()
    assert rows[0].startswith("failed: not a PNG")  # its name stands above
    assert "done · distance " in rows[-1]
    page.keyboard.press("ArrowDown")
    assert "no face" in page.locator("#facts").inner_text()
    assert page.locator("#counts").inner_text().startswith("2 done · 2 failed · ")
    page.locator("#show").select_option("done")
    assert sorted(names(page)) == ["look #1.png", "two.png"]
    page.locator("#sort").select_option("name")
    assert names(page) == ["look #1.png", "two.png"]


def test_keys_choose_a_picture_and_move_the_slider(report: Path, visit):
    page = visit(report).page
    page.locator("#show").select_option("done")
    page.locator("#sort").select_option("name")
    page.locator("#list").focus()
    page.keyboard.press("End")
    captions = page.locator("figcaption").all_text_contents()
    assert [caption.split(" · ")[0] for caption in captions] == ["face 0", "face 1", "the whole picture"]
    assert all("distance" in caption for caption in captions[:2])
    assert at(page) == ["50"] * 3
    page.keyboard.press("ArrowRight")
    assert at(page) == ["55"] * 3
    page.keyboard.press("Space")
    assert at(page) == ["0"] * 3
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # on the first slider
    page.keyboard.press("ArrowRight")
    assert at(page) == ["5"] * 3
    page.keyboard.press("ArrowUp")
    assert page.locator("h2").inner_text().endswith("look #1.png")
    assert at(page) == ["5"] * 2  # stays from picture to picture


def test_pictures_are_there_before_and_after_and_links_lead_to_files(report: Path, visit):
    page = visit(report).page
    page.keyboard.press("End")
    sizes = page.locator(".pair img").evaluate_all("(all) => all.map((one) => [one.naturalWidth, one.naturalHeight])")
    assert len(sizes) in (4, 6)
    assert all(min(size) > 0 for size in sizes)
    assert all(page.locator(".pair img").evaluate_all("(all) => all.map((image) => image.alt)"))
    shown = page.locator("#facts a").evaluate_all("(all) => all.map((link) => [link.href, link.textContent])")
    assert [Path(text).as_uri() for _, text in shown] == [link for link, _ in shown]


def test_it_tells_settings_and_licences(report: Path, visit):
    page = visit(report).page
    assert page.locator("summary").all_text_contents() == ["The whole run", "Settings", "Licences"]
    page.locator("summary").evaluate_all("(all) => all.forEach((one) => one.click())")
    told = page.locator("#about").inner_text()
    assert "feather frac" in told
    assert "CC0-1.0" in told


def test_a_thousand_pictures_decode_only_what_is_seen(tmp_path: Path, visit, look: Path):
    path, picture = tmp_path / "many.html", read_source(look, max_pixels=10**6).rgb
    preview = encode_preview(picture, (75, 100))
    view = View(0, 75, 100, preview, preview)
    page = Page(path, 1000)
    assert page.sizes.whole_px == 448
    for i in range(1000):
        line = {"input": f"{i:04}.png", "status": "done", "outputs": [], "error": None, "faces": 1, "distance": [i]}
        page.write(line, [view])
    page.close({"done": 1000, "skipped": 0, "failed": 0, "not_started": 0, "seconds": 1.0})
    shown = visit(path).page
    assert shown.locator("#list li").count() == 1000
    assert names(shown)[:2] == ["0999.png", "0998.png"]
    pictures = shown.locator("#list img[src]")  # waited for by locators: the page forbids eval, which others need
    pictures.nth(5).wait_for(state="attached")
    shown.keyboard.press("End")
    shown.locator("#row-999 img[src]").first.wait_for(state="attached")
    shown.locator("#row-0 img[src]").first.wait_for(state="detached")
    pictures.nth(39).wait_for(state="detached")


def test_a_page_has_a_bound(tmp_path: Path, visit, monkeypatch):
    monkeypatch.setattr("refacer.jobs.page.MAX_VIEW_BYTES", 10)
    page = Page(tmp_path / "full.html", 2)
    for name in ("a.png", "b.png"):
        line = {"input": name, "status": "done", "outputs": [], "error": None}
        page.write(line, [View(None, 1, 1, b"123456", None)])
    page.close({"done": 2, "skipped": 0, "failed": 0, "not_started": 0, "seconds": 1.0})
    shown = visit(tmp_path / "full.html").page
    assert "1 without pictures here" in shown.locator("#counts").inner_text()
    assert shown.locator("figure").count() == 1
    shown.keyboard.press("End")
    assert shown.locator("figure").count() == 0
