"""report.html needs nothing but itself; TensorBoard's files are written where it is installed."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from refacer.errors import OutputNotWritable
from refacer.files import read_source, write_atomic
from refacer.finetuning import charts, record
from refacer.finetuning.charts import chart, spread
from refacer.finetuning.identity import RunIdentity
from refacer.finetuning.record import EventFiles
from refacer.finetuning.report import report_page
from refacer.finetuning.run import Training
from refacer.finetuning.style import StyleRecipe
from refacer.images.pixels import scale_to_unit
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.weights.bases import encode_base, fresh_networks

ALIGNED = Path(__file__).parents[1] / "data/align"
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
        patch.setattr(record, "find_spec", lambda _name: None)
        recipe = StyleRecipe([folder / "faces"], str(folder / "base"), OPTIONS, device="cpu")
        Training(recipe, folder / "run", quiet=True).go("auto")
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
    assert "http" not in page.replace("http-equiv", "")
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


def test_tensorboard_reads_every_number_of_a_tick(tmp_path):
    line = {"means": {"loss/r1": 0.5}, "augment_p": 0.25, "identity": {}}
    samples = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    made = EventFiles(tmp_path, 500)
    for images_seen in (1000, 2000):
        made.add({"images_seen": images_seen, **line}, samples)
    made.close()
    made = EventFiles(tmp_path, 1000)  # a run that goes on behind its first tick
    made.add({"images_seen": 1500, **line, "augment_p": 0.75}, samples)
    made.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["means/loss/r1", "augment_p"]
    assert [(event.step, event.value) for event in events.Scalars("augment_p")] == [(1000, 0.25), (1500, 0.75)]
    assert [event.value for event in events.Scalars("means/loss/r1")] == [0.5, 0.5]
    assert [event.step for event in events.Images("samples")] == [1000, 1500]
    picture = Image.open(io.BytesIO(events.Images("samples")[0].encoded_image_string))
    assert np.array_equal(np.asarray(picture), samples)


def test_what_tensorboards_thread_cannot_write_is_our_error_alone(tmp_path, monkeypatch, capsys):
    def closed(*_):
        raise PermissionError(1, "Operation not permitted")

    def write_some():
        for step in range(9):
            made.add({"images_seen": step, "augment_p": 0.5}, np.zeros((4, 6, 3), np.uint8))

    made = EventFiles(tmp_path, 0)
    monkeypatch.setattr(RecordWriter, "write", closed)
    with pytest.raises(OutputNotWritable, match="Operation not permitted"):
        write_some()
    with pytest.raises(OutputNotWritable):
        made.close()
    assert "Traceback" not in capsys.readouterr().err


def test_a_curve_stays_within_its_frame_and_skips_what_is_not_finite():
    ticks = [
        {"images_seen": 1000 * i, "augment_p": 0.0, "means": {"x": float("nan") if i == 1 else i**2}} for i in range(4)
    ]
    page = report_page("a", ticks, {}, [])
    points = re.findall(r'points="([^"]*)"', page)[0]
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(places) == 3
    assert all(charts.LEFT <= x <= charts.WIDTH - charts.RIGHT for x, _ in places)
    assert all(charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM for _, y in places)
    assert places[0][1] > places[-1][1]
    assert "x: 0 at 0 kimg, 9 at 3 kimg, from 0 to 9; no unit" in page
    assert chart("flat", [(0.0, 1.0)], "m").count("<circle") == 1
    assert chart("empty", [], "m") == ""


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0.104, 1.4, [0, 0.5, 1, 1.5]),
        (65_100, 82_000, [65_000, 70_000, 75_000, 80_000, 85_000]),
        (-0.9, -0.5, [-0.9, -0.8, -0.7, -0.6, -0.5]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, 3, [0, 2, 4, 6]),
        (-3, -3, [-6, -4, -2, 0]),
        (2e-7, 3e-7, [2e-7, 2.2e-7, 2.4e-7, 2.6e-7, 2.8e-7, 3e-7]),
    ],
)
def test_axes_have_round_steps_that_enclose_the_values(low: float, high: float, steps: list[float]):
    assert charts.round_steps(low, high) == pytest.approx(steps, rel=1e-9)


def test_numbers_are_short_and_readable():
    values = (0.0, 0.25, 1e-5, 76_209.3, 1234.56, -0.5, 2.5e9)
    assert [charts.number(value) for value in values] == ["0", "0.25", "1e-05", "76,209", "1235", "-0.5", "2.5e+09"]


def test_points_in_time_are_spread_with_both_ends():
    assert spread(list(range(100)), 4) == [0, 33, 66, 99]
    assert spread([1, 2], 4) == [1, 2]


def test_the_page_says_what_a_term_is_multiplied_with_and_where_identity_is_missing():
    ticks = [{"images_seen": 8, "means": {"loss/r1": 0.5}, "weighted": {"loss/r1": 2.0}, "augment_p": 0.0}]
    page = report_page("a", ticks, {}, [], sample_order="one, two")
    assert "weight 4<" in page
    assert "Not measured: see log.txt" in page
    assert "Identity" not in report_page("a", ticks, {}, [])


def test_identity_is_that_of_the_first_codes_that_show_faces_and_too_small_pictures_have_none(monkeypatch):
    asked: list[tuple[int, ...]] = []

    class Network:
        name = "identity_distance_dlib"

        def compare(self, a: torch.Tensor, b: torch.Tensor) -> float | None:
            asked.append((*a.shape, *b.shape))
            return None if len(asked) == 2 else float((a - b).abs().mean())

    monkeypatch.setattr(RunIdentity, "_network", Network())
    pictures = torch.zeros(10, 3, 512, 512)
    measured = RunIdentity(512, torch.device("cpu"), paired=True).measured(pictures + 0.5, pictures)
    assert measured == {"identity_distance_dlib": 0.5, "codes_with_faces": 7}
    assert asked == [(1, 3, 256, 256, 1, 3, 256, 256)] * 8
    small = RunIdentity(32, torch.device("cpu"), paired=True)
    assert (small.measured(pictures, pictures), "32 pixels" in small.reason) == ({}, True)
    base = RunIdentity(512, torch.device("cpu"), paired=False)
    assert (base.measured(pictures, None), base.uses) == ({}, [])


def test_identity_of_real_faces_tells_people_apart():
    faces = [read_source(ALIGNED / f"aligned_{i}_256.png", max_pixels=10**6).rgb for i in (0, 1)]
    first, second = (scale_to_unit(torch.from_numpy(face.copy()).permute(2, 0, 1)[None]) for face in faces)
    measured = RunIdentity(256, torch.device("cpu"), paired=True).measured
    assert measured(first, first) == {"identity_distance_dlib": 0.0, "codes_with_faces": 1}
    assert measured(first, second)["identity_distance_dlib"] > 0.3
    assert measured(first, torch.zeros_like(first)) == {"codes_with_faces": 0}
