"""report.html needs nothing but itself; TensorBoard's files are written where it is installed."""

import base64
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refacer.commands import board
from refacer.commands.board import Board
from refacer.commands.training_report import chart, report_page, spread
from refacer.commands.training_run import TrainingRun
from refacer.files import read_source, write_atomic
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.weights.bases import encode_base, fresh_networks

OPTIONS = FinetuneOptions(batch=2, kimg=0.004, tick_kimg=0.002, sample_count=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two ticks at 8 pixels, without TensorBoard."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "faces").mkdir()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "faces/a.png")
    networks = fresh_networks(NetworkOptions(8, channel_base=64, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1))
    for name, data in encode_base(*networks, {"licence": "CC0-1.0 <of & yours>", "commercial": "yes"}).items():
        write_atomic(folder / "base" / name, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board, "find_spec", lambda _name: None)
        TrainingRun([folder / "faces"], folder / "run", str(folder / "base"), None, {}, OPTIONS, "cpu", True).go("auto")
    return folder / "run"


class Checker(HTMLParser):
    """Counts elements and gathers what they refer to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]


def test_the_report_is_one_page_without_scripts(run):
    page = (run / "report.html").read_text()
    found = Checker(page)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert all(link.startswith("data:image/png;base64,") for link in found.links)
    assert "http" not in page
    assert found.tags.count("svg") >= 10


def test_the_report_shows_terms_options_hardware_and_licences(run):
    page = (run / "report.html").read_text()
    for words in ("Weighted losses", "loss/sketch", "loss/path_length", "augment_p", "--sketch-weight", "5e-06", "CPU"):
        assert words in page
    assert "CC0-1.0 &lt;of &amp; yours&gt;" in page
    assert "/tmp" not in page


def test_samples_show_a_code_realistic_and_rendered_side_by_side(run):
    (first, _) = Checker((run / "report.html").read_text()).links
    small = read_source(base64.b64decode(first.partition(",")[2]), max_pixels=10**6).rgb
    assert small.shape == (8, 3 * 2 * 8, 3)
    whole = read_source(run / "samples/000000002.png", max_pixels=10**6).rgb
    assert np.array_equal(small[:, :8], whole[:8, :8])  # the first code's realistic picture
    assert np.array_equal(small[:, 8:16], whole[8:, :8])  # below it there, beside it here


def test_a_missing_tensorboard_is_said_in_the_log(run):
    assert "refacer[tensorboard]" in (run / "log.txt").read_text()
    assert not (run / "tensorboard").exists()


def test_tensorboard_gets_every_number_of_a_tick(tmp_path, monkeypatch):
    class Writer:
        made: list[Any] = []  # noqa: RUF012

        def __init__(self, folder: str, purge_step: int) -> None:
            self.folder, self.purge_step, self.scalars, self.images = folder, purge_step, {}, []
            self.made.append(self)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            self.scalars[name, step] = value

        def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
            self.images.append((name, image.shape, step, dataformats))

        def flush(self) -> None: ...

        def close(self) -> None: ...

    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(board, "find_spec", lambda _name: True)
    made = Board(tmp_path, 500)
    made.add({"images_seen": 1000, "means": {"loss/r1": 0.5}, "augment_p": 0.25}, np.zeros((4, 6, 3), np.uint8))
    made.close()
    (writer,) = Writer.made
    assert writer.purge_step == 501
    assert writer.scalars == {("means/loss/r1", 1000): 0.5, ("augment_p", 1000): 0.25}
    assert writer.images == [("samples", (4, 6, 3), 1000, "HWC")]


def test_a_curve_stays_within_its_frame_and_skips_what_is_not_finite():
    ticks = [{"images_seen": 1000 * i, "means": {"x": float("nan") if i == 1 else i**2}} for i in range(4)]
    page = report_page("a", ticks, {}, [], paired=False)
    (points,) = re.findall(r'points="([^"]*)"', page)
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(places) == 3
    assert all(0 <= x <= 320 and 0 <= y <= 130 for x, y in places)
    assert places[0][1] > places[-1][1]
    assert chart("flat", [(0.0, 1.0)]).count("<circle") == 1
    assert chart("empty", []) == ""


def test_points_in_time_are_spread_with_both_ends():
    assert spread(list(range(100)), 4) == [0, 33, 66, 99]
    assert spread([1, 2]) == [1, 2]
