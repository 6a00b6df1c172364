"""The review page of `refacer dataset`, with real keys: what it saves is what the command takes."""

import shutil
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
DATA = Path(__file__).parents[1] / "data"
PICTURES = ("align/source_0.jpg", "align/source_1.jpg", "display.png", "faces/display.jpg")
LIMITS = ("--size", 64, "--min-size", 1, "--max-blur", 1, "--min-score", -1, "--max-bits", 0, "--jobs", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory, cli) -> Path:
    """A set of real faces in which nothing is put aside."""
    folder = tmp_path_factory.mktemp("made")
    for name in PICTURES:
        (folder / "src").mkdir(exist_ok=True)
        shutil.copy(DATA / name, folder / "src" / name.replace("/", "-"))
    ended = cli("dataset", folder / "src", "-o", folder / "set", *LIMITS)
    assert ended.code == 0, ended.err
    return folder / "set"


@pytest.fixture
def review(made: Path, visit):
    """The page, without what an earlier test has decided."""
    opened = visit(made / "review.html")
    opened.page.evaluate("localStorage.clear()")
    opened.page.reload()
    return opened


def names_on(page) -> list[str]:
    return page.evaluate("shown.map((face) => face.name)")


def saved_by(page, act, path: Path) -> list[str]:
    """The names in the list that the browser saves when `act` is done."""
    with page.expect_download() as download:
        act()
    assert download.value.suggested_filename == path.name
    download.value.save_as(path)
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_keys_decide_and_the_command_takes_the_list(made: Path, review, cli, tmp_path):
    page, names = review.page, names_on(review.page)
    assert len(names) >= 4
    for key in ("d", "ArrowRight", "d", "Space", "Space"):  # out: the first, the third; the fourth there and back
        page.keyboard.press(key)
    assert page.locator("#count").inner_text() == f"{len(names) - 2} of {len(names)} kept"
    kept = saved_by(page, lambda: page.keyboard.press("s"), tmp_path / "keep.txt")
    assert kept == sorted({*names} - {names[0], names[2]})
    shutil.copytree(made.parent, tmp_path / "place")
    place = tmp_path / "place"
    ended = cli("dataset", place / "src", "-o", place / "set", *LIMITS, "--keep", tmp_path / "keep.txt")
    assert ended.code == 0, ended.err
    assert zipfile.ZipFile(place / "set/dataset.zip").namelist() == kept
    assert {path.name for path in (place / "set/quarantine/not-listed").iterdir()} == {names[0], names[2]}


def test_the_list_of_dropped_faces_is_taken_too(made: Path, review, cli, tmp_path):
    page, names = review.page, names_on(review.page)
    page.keyboard.press("End")
    page.keyboard.press("d")
    page.locator("#save-drop").focus()
    dropped = saved_by(page, lambda: page.keyboard.press("Space"), tmp_path / "drop.txt")
    assert dropped == names[-1:]  # the key pressed the button and changed no face
    shutil.copytree(made.parent, tmp_path / "place")
    place = tmp_path / "place"
    assert cli("dataset", place / "src", "-o", place / "set", *LIMITS, "--drop", tmp_path / "drop.txt").code == 0
    assert zipfile.ZipFile(place / "set/dataset.zip").namelist() == sorted(names[:-1])


def test_decisions_are_remembered_shown_and_forgotten_on_request(review):
    page, names = review.page, names_on(review.page)
    page.keyboard.press("d")
    page.reload()
    first = page.locator("figure").first
    assert first.get_attribute("aria-selected") == "false"
    assert first.locator("figcaption").inner_text().startswith("✕ ")
    page.locator("#show").select_option("changed by hand")
    assert names_on(page) == names[:1]
    page.locator("#show").select_option("all")
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.locator("#reset").click()
    assert first.get_attribute("aria-selected") == "false"
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#reset").click()
    assert first.get_attribute("aria-selected") == "true"
    assert asked == ["Forget 1 decisions?"]
    page.keyboard.press("d")  # after a click the keys belong to the faces again
    assert first.get_attribute("aria-selected") == "false"


@pytest.mark.parametrize("width_px", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_stands_alone_and_the_current_face_is_always_seen(made: Path, visit, width_px: int, scheme: str):
    opened = visit(made / "review.html", width_px, scheme, 420)
    page = opened.page
    for key in ("End", "Home", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
        here, ground = page.locator("figure.here").bounding_box(), page.locator("main").bounding_box()
        assert here["y"] >= ground["y"], key
        assert here["y"] + here["height"] <= ground["y"] + ground["height"], key
    assert all(page.locator("img").evaluate_all("(all) => all.map((image) => image.alt && image.naturalWidth > 0)"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    assert [url for url in opened.requests if url.startswith(("http", "ws"))] == []
    assert opened.complaints == []
