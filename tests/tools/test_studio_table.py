"""The columns of the studio table on pictures whose figures are known."""

import math

import pytest
import torch

from benchmarks import studio
from benchmarks.studio_codes import percentile, share
from benchmarks.studio_measures import Identity, identity_distance, sharpness
from benchmarks.studio_rows import ROWS, Figures, Person, figures_of, mean_figures, with_noise
from refacer.files import read_source
from refacer.images.pixels import tensor_from_rgb
from tests.tools.fakes import Brightness, PhotoIfBright

SIDE = 64


@pytest.fixture
def region() -> torch.Tensor:
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[:, :, 16:48, 16:48] = 1
    return mask


def test_sharpness_is_the_laplacian_inside_the_mask(region):
    checks = torch.zeros(1, 3, SIDE, SIDE)
    checks[..., ::2, ::2] = checks[..., 1::2, 1::2] = 2 / 255
    assert sharpness(checks, region) == pytest.approx(4, rel=1e-4)
    assert sharpness(torch.where(region > 0, 0.3, checks), region * 0) == 0
    assert sharpness(torch.full_like(checks, 0.7), region) == pytest.approx(0, abs=1e-3)


def test_the_figures_of_a_person():
    labels = torch.ones(1, SIDE, SIDE, dtype=torch.uint8)
    dark, bright = torch.full((1, 3, SIDE, SIDE), -0.5), torch.full((1, 3, SIDE, SIDE), 0.5)
    person = Person("a", dark, bright, labels)
    pictures = {"input": (dark, 0.0), "method": (bright - 0.1, 7.0), "photo": (bright, 0.0)}
    rows = figures_of(person, pictures, Brightness(), PhotoIfBright(), Brightness())  # type: ignore[arg-type]
    assert (rows["input"].identity_to_input, rows["photo"].identity_to_photo) == (0, 0)
    assert rows["method"].identity_to_input == pytest.approx(0.9)
    assert rows["method"].identity_to_photo == pytest.approx(0.1)
    assert rows["method"].l2_to_photo == pytest.approx(0.01, rel=1e-4)
    assert rows["method"].color_to_photo == pytest.approx(0.01, rel=1e-3)
    assert rows["method"].perceptual_to_photo == pytest.approx(0.03, rel=1e-4)
    assert [rows[row].photo for row in pictures] == [0, 1, 1]
    assert rows["photo"].sharpness == 0
    assert rows["method"].seconds == 7


def test_means_leave_out_faces_that_were_not_found():
    nowhere = float("nan")
    rows = [Figures(0.2, 0.3, 1, 1, 1, 1, 2, 1, 4), Figures(nowhere, nowhere, 3, 2, 1, 0, 3, 1, 6)]
    mean = mean_figures(rows)
    assert mean["identity_to_input"] == 0.2
    assert (mean["perceptual_to_photo"], mean["photo"], mean["seconds"]) == (2, 0.5, 5)
    assert math.isnan(mean_figures([])["photo"])


def test_shares_and_percentiles():
    assert share([True, False, True, True]) == 0.75
    assert percentile([float("nan"), *map(float, range(101))], 90) == 90


def test_noise_is_repeatable_and_as_strong_as_said():
    face = torch.zeros(1, 3, 128, 128)
    noisy = with_noise(face)
    assert torch.equal(noisy, with_noise(face))
    assert float(noisy.std()) * 127.5 == pytest.approx(5, rel=0.05)


def test_the_aims_compare_the_right_way_round():
    source = dict.fromkeys(studio.COLUMNS, 0.3)
    good = dict.fromkeys(studio.COLUMNS, 0.25) | {"identity_to_input": 0.1, "photo": 0.95, "sharpness_ratio": 1.0}
    codes = {"real_called_photo": 0.9, "rendering_called_cg": 0.7, "identity_between": 0.4}
    rows = dict.fromkeys(ROWS, source) | {"change": good}
    assert [aim["met"] for aim in studio.aims(rows, "change", codes).values()] == [True] * 9 + [False, True]
    bad = dict.fromkeys(studio.COLUMNS, 0.31) | {"l2_to_photo": 0.26}
    met = {name for name, aim in studio.aims(rows | {"change": bad}, "change", None).items() if aim["met"]}
    assert met == {"sharpness of the photo's, no more"}
    vague, crisp = ({**good, "sharpness_ratio": ratio} for ratio in (0.89, 1.11))
    for row in (vague, crisp):
        missed = [name for name, aim in studio.aims(rows | {"change": row}, "change", None).items() if not aim["met"]]
        assert len(missed) == 1
        assert "sharpness" in missed[0]


def test_the_report_is_json_without_nan():
    assert studio.plain({"a": float("nan"), "b": {"c": 0.123456789}, "d": "x"}) == {
        "a": None,
        "b": {"c": 0.12346},
        "d": "x",
    }


def test_the_table_shows_every_row_and_aim(capsys):
    figures = dict.fromkeys(studio.COLUMNS, 0.5)
    rows = dict.fromkeys(ROWS, figures)
    report = {"pair": "tiny", "people": {}, "steps": 1, "machine": "m", "rows": rows, "codes": None}
    studio.show({**report, "aims": studio.aims(rows, "change", None)})
    out = capsys.readouterr().out
    assert all(title in out for title in ROWS.values())
    assert "missed  judged photo: 0.500 (at least 0.9)" in out


def test_dlib_knows_a_face_again(look):
    face = tensor_from_rgb(read_source(look.parent / "align" / "aligned_0_256.png", max_pixels=10**6).rgb)
    identity = Identity()
    points = identity.landmarks(face)
    assert points is not None
    own = identity.describe(face, points)
    assert identity_distance(own, identity.describe(face, points)) == 0
    assert 0 < identity_distance(own, identity.describe(with_noise(face), points)) < 0.3
    assert identity.fallbacks == 0
    blank = torch.zeros_like(face)
    assert identity.describe(blank, identity.landmarks(blank)) is None
    assert identity.describe(blank, None, (None, points)) is not None
    assert identity.fallbacks == 1
    assert math.isnan(identity_distance(own, None))
