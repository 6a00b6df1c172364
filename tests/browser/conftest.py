"""A headless Chromium of this machine's own; the tests are reported as skipped where there is none."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


FAINT = """(selectors) => {
    const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => numbers(color).slice(0, 3).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        const own = getComputedStyle(element).backgroundColor;
        return numbers(own).length === 4 && numbers(own)[3] === 0 ? behind(element.parentElement) : own;
    };
    return [...document.querySelectorAll(selectors)].filter((element) => {
        const style = getComputedStyle(element);
        const color = element.tagName === 'text' ? style.fill : style.color;
        const [a, b] = [light(color), light(behind(element))];
        return element.textContent && (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    }).map((element) => element.textContent);
}"""


@dataclass
class Opened:
    """A page, and what it has asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Any]:
    """The browser, with an empty profile."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"needs a browser ({', '.join(PROGRAMS)}); on Debian `apt-get install chromium`")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs the package playwright; `pip install --group dev`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, headless=True, args=FLAGS, accept_downloads=True
        )
        context.set_default_timeout(20_000)
        yield context
        context.close()


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Opened]]:
    """A function: file or address, width in pixels, scheme -> the page."""
    opened: list[Opened] = []

    def go(place: Path | str, width_px: int = 1280, scheme: str = "light", height_px: int = 800) -> Opened:
        found = Opened(browser.new_page())
        opened.append(found)
        page = found.page
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.set_viewport_size({"width": width_px, "height": height_px})
        page.emulate_media(color_scheme=scheme)
        page.goto(place if isinstance(place, str) else place.as_uri())
        return found

    yield go
    for found in opened:
        found.page.close()


@pytest.fixture(scope="session")
def faint() -> Callable[[Any, str], list[str]]:
    """A function: page, CSS selectors -> the texts of a contrast below WCAG's 4.5 to what lies behind them."""
    return lambda page, selectors: page.evaluate(FAINT, selectors)
