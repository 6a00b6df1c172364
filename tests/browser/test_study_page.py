"""A study's page, with real keys and touches: what it writes down is what `refacer study analyse` counts."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refacer.studies.design import SHARP, Design
from refacer.studies.folder import StudyFolder
from refacer.studies.page import collecting
from refacer.studies.serve import Ballot, listening
from refacer.studies.votes import read_votes

SEEN = "h1, h2, p, b, span, th, td, summary, svg text"

pytestmark = pytest.mark.browser
METHODS, FACES = ("ours", "b", "c"), 2
QUESTIONS = {"pairs": 2 * FACES + 4, "all": FACES + 3}  # of two main questions one comes again


@pytest.fixture(scope="module")
def studies(tmp_path_factory, cli) -> Path:
    """A folder with a study of each form, of pictures that each have a colour of their own; `all` shows the input."""
    place = tmp_path_factory.mktemp("studies")
    for number, name in enumerate((*METHODS, "inputs")):
        for face in range(FACES):
            (place / "compared" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.full((64, 64, 3), (60 * number, 100 * face, 120), np.uint8)
            pixels[::4] = 255  # so that a blur shows
            Image.fromarray(pixels).save(place / "compared" / name / f"{face}.png")
    for form, more in (("pairs", ()), ("all", ("--show-input",))):
        ended = cli(
            "study", "make", place / "compared", "-o", place / form, "--form", form, "--least-median-ms", 0, *more
        )
        assert ended.code == 0, ended.err
    return place


@pytest.fixture
def fresh(visit, studies):
    """A function: form, how -> the page without what was answered before."""

    def go(form: str = "pairs", **how: Any):
        opened = visit(studies / form / "index.html", **how)
        opened.page.evaluate("localStorage.clear()")
        opened.page.reload()
        return opened

    return go


def design_of(studies: Path, form: str) -> Design:
    return StudyFolder(studies / form).read().design


def start(page) -> None:
    page.locator("#start:enabled").focus()
    page.keyboard.press("Enter")


def wait(page) -> None:
    """Until an answer is taken."""
    page.locator("#shown[aria-busy=false]").wait_for()


def lines_of(page) -> list[dict[str, Any]]:
    return [json.loads(line) for line in page.evaluate("lines")]


@pytest.mark.parametrize("form", ["pairs", "all"])
def test_by_keys_alone_from_start_to_the_saved_file(studies, fresh, form, tmp_path, cli):
    opened = fresh(form)
    page, design = opened.page, design_of(studies, form)
    page.locator("#start:enabled").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait(page)
    plan = design.plan(page.evaluate("person"))
    shown = page.evaluate("plan")
    assert [(t["kind"], t["case"], tuple(t["shown"])) for t in shown] == [(t.kind, t.case, t.shown) for t in plan]
    for trial in plan:
        wait(page)
        wanted = trial.shown.index(SHARP if trial.kind == "obvious" else design.focal)
        page.keyboard.press(("ArrowLeft", "ArrowRight")[wanted] if form == "pairs" else str(wanted + 1))
    page.locator("#thanks").wait_for()
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    (person,) = read_votes([path], design).people
    assert path.name == f"votes-{person.id}.jsonl"
    assert len(person.answers) == len(plan) == QUESTIONS[form]
    assert all(answer.choice == design.focal for answer in person.of("main"))
    assert all(answer.choice == SHARP for answer in person.of("obvious"))
    assert all(answer.ms >= 150 for answer in person.answers.values())
    ended = cli("study", "analyse", path, "--json", "-q", "--bootstrap", 10)
    body = json.loads(ended.out)
    assert (ended.code, body["pooled"]["share"], body["problems"]) == (0, 1.0, [])
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("blob:", "file:"))] == []


def test_the_pictures_are_those_that_are_written_down(studies, fresh):
    """Each picture is known by its colour; all were decoded before the first question."""
    page = fresh().page
    key = StudyFolder(studies / "pairs").read()
    start(page)
    plan = key.design.plan(page.evaluate("person"))
    for trial in plan[:4]:
        wait(page)
        colors = page.locator("#shown img").evaluate_all("""(all) => all.map((image) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
            const pen = canvas.getContext("2d");
            pen.drawImage(image, 0, 0);
            return [...pen.getImageData(0, 2, 1, 1).data.slice(0, 2)];
        })""")
        if trial.kind == "main":
            face = int(key.cases[trial.case])
            numbers = [METHODS.index(key.titles[name]) for name in trial.shown]
            assert colors == [[60 * number, 100 * face] for number in numbers]
        page.locator("#shown button").nth(1).click()
        assert lines_of(page)[-1]["choice"] == trial.shown[1]


def test_touch_and_a_key_that_came_too_early(studies, browser, fresh):
    page = fresh(width_px=390, height_px=780).page
    start(page)
    wait(page)
    page.keyboard.down("1")
    page.keyboard.down("1")  # held down: repeats answer nothing
    page.keyboard.up("1")
    wait(page)
    assert len(lines_of(page)) == 2
    page.locator("#shown button").first.dispatch_event("click")
    assert len(lines_of(page)) == 3
    page.keyboard.press("1")  # meant for the question before
    assert len(lines_of(page)) == 3


def test_it_goes_on_where_it_stopped(fresh):
    page = fresh().page
    start(page)
    for _ in range(3):
        wait(page)
        page.keyboard.press("2")
    before = lines_of(page)
    page.reload()
    page.locator("#resume:enabled").click()
    wait(page)
    assert lines_of(page) == before
    assert page.locator("#where").inner_text() == f"Question 4 of {QUESTIONS['pairs']}"
    page.keyboard.press("1")
    assert [line.get("trial") for line in lines_of(page)] == [None, 0, 1, 2, 3]


@pytest.mark.parametrize("form", ["pairs", "all"])
@pytest.mark.parametrize("width_px", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_seen_read_and_named(fresh, faint, form, width_px, scheme):
    page = fresh(form, width_px=width_px, scheme=scheme, height_px=700).page
    page.locator("#start:enabled").wait_for()
    assert faint(page, SEEN) == []
    start(page)
    wait(page)
    assert faint(page, SEEN) == []
    cells = [box.bounding_box() for box in page.locator("#shown img").all()]
    assert len({(box["width"], box["height"]) for box in cells}) == 1, "all pictures have one size"
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width_px for box in cells)
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= 700 for box in cells)
    assert cells[0]["width"] == 128, "twice its own size, no more"
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    count = 2 if form == "pairs" else 3
    names = [page.get_by_role("button", name=f"Choose picture {i + 1} of {count}") for i in range(count)]
    assert all(name.count() == 1 for name in names)
    assert page.get_by_role("group", name="Which face").count() == 1
    assert page.evaluate("document.activeElement.id") == "asked", "a screen reader reads the question"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert lines_of(page)[-1]["choice"] == page.evaluate("plan[0].shown[0]")
    if form == "all":
        assert page.get_by_role("img", name="What the others were made from").count() == 1


def test_votes_arrive_and_what_a_dead_server_missed_comes_later(studies, visit, tmp_path):
    design = design_of(studies, "pairs")
    shown = collecting((studies / "pairs/index.html").read_bytes())
    path = tmp_path / "votes.jsonl"

    def served(port: int):
        ballot = Ballot(path)
        server = listening("127.0.0.1", port, shown, design, ballot)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return server, ballot

    def stop(server, ballot) -> None:
        server.shutdown()
        server.server_close()
        ballot.__exit__()

    running = served(0)
    port = running[0].server_port
    opened = visit(f"http://127.0.0.1:{port}/")
    page = opened.page
    start(page)
    for number in range(QUESTIONS["pairs"]):
        if number == 3:
            stop(*running)
        wait(page)
        page.keyboard.press("1")
    page.locator("#kept", has_text="not all arrived").wait_for()
    running = served(port)
    page.locator("#kept", has_text="have arrived").wait_for()
    stop(*running)
    (person,) = read_votes([path], design).people
    assert len(person.answers) == QUESTIONS["pairs"]
    assert {url for url in opened.requests if not url.startswith("blob:")} <= {
        f"http://127.0.0.1:{port}/{name}" for name in ("", "votes", "favicon.ico")
    }
