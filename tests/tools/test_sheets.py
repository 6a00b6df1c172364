"""The sheets: nobody is left out, and every sheet is a small JPEG."""

import io
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

from refacer.images import sheet_layout
from refacer.images.pixels import tensor_from_rgb
from refacer.types import Rgb
from tools.studio import sheets


def _picture(height: int, width: int, value: int = 100) -> Rgb:
    return np.full((height, width, 3), value, np.uint8)


def test_fitted_keeps_the_shape_of_a_picture():
    assert np.array_equal(sheet_layout.fitted(_picture(192, 192), 192, 192), _picture(192, 192))
    tall = sheet_layout.fitted(_picture(400, 200), 100, 100)
    assert tall.shape == (100, 100, 3)
    assert (tall[:, :50] == 100).all()
    assert (tall[:, 50:] == 255).all()


def test_enlarged_shows_the_quad_and_paper_beyond_the_picture():
    picture = _picture(60, 60, 0)
    picture[10:30, 40:60] = 200
    quad = ((39.5, 9.5), (39.5, 29.5), (59.5, 29.5), (59.5, 9.5))
    assert sheet_layout.enlarged(picture, quad, 0.0, 40)[20, 20].tolist() == [200] * 3
    wider = sheet_layout.enlarged(picture, quad, 0.5, 80)
    assert wider[40, 79].tolist() == [255] * 3
    assert wider[40, 2].tolist() == [0] * 3


def test_every_row_is_on_a_sheet_in_order():
    rows = [_picture(20, 30 + i, 20 * i) for i in range(5)]
    made = sheets.sheets_of("people", rows, rows_a_sheet=2)
    assert list(made) == ["people-1.jpg", "people-2.jpg", "people-3.jpg"]
    first, last = (np.array(Image.open(io.BytesIO(made[name]))) for name in ("people-1.jpg", "people-3.jpg"))
    assert first.shape == (20 + 6 + 20, 31, 3)
    assert abs(int(first[35, 5, 0]) - 20) < 5
    assert last.shape[:2] == (20, 34)


def test_a_sheet_stays_below_a_megabyte(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    assert len(sheet_layout.encode_jpeg(noise)) < 1_000_000
    monkeypatch.setattr(sheet_layout, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="fewer"):
        sheet_layout.encode_jpeg(noise)


def test_a_display_without_a_face_is_shown_whole_only():
    quad = ((0.0, 0.0), (0.0, 9.0), (9.0, 9.0), (9.0, 0.0))
    found, unseen = (sheets.Display("a", _picture(20, 15), _picture(20, 15), quads) for quads in ((quad,), ()))
    assert sheets.display_row(found).shape[1] > sheets.display_row(unseen).shape[1]


def test_a_display_goes_through_the_whole_pipeline(look, bare, pair):
    transfer = sheets.Transfer(str(pair), device="cpu", steps=2)
    seen = sheets.shown(look, transfer)
    assert len(seen.quads) == 1
    assert seen.after.shape == seen.before.shape
    assert not np.array_equal(seen.after, seen.before)
    unseen = sheets.shown(bare, transfer)
    assert unseen.quads == ()
    assert np.array_equal(unseen.after, unseen.before)


def test_codes_are_kept_for_the_next_call(tmp_path, pair):
    face = tensor_from_rgb(_picture(64, 64))
    first = sheets.Transfer(str(pair), device="cpu", store=tmp_path)
    found = first.project("a", face, "rendering")
    again = sheets.Transfer(str(pair), device="cpu", store=tmp_path).project("a", face, "rendering")
    assert again.seconds == found.seconds
    assert (again.codes == found.codes).all()
    other = sheets.Transfer(str(pair), device="cpu", steps=3, store=tmp_path).project("a", face, "rendering")
    assert other.seconds != found.seconds


def test_people_are_read_from_the_zip(tmp_path, pair):
    import zipfile

    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        for i in range(3):
            for look, kind in (("cg", "jpg"), ("photo", "jpg"), ("label", "png")):
                file = io.BytesIO()
                picture = Image.fromarray(_picture(64, 64, 60 * i))
                if look == "label":
                    picture = Image.new("L", (64, 64), 1)
                picture.save(file, "JPEG" if kind == "jpg" else "PNG")
                archive.writestr(f"{look}/0900{i}_0.{kind}", file.getvalue())
    made = sheets.people_sheets(Namespace(data=tmp_path, limit=None), sheets.Transfer(str(pair), device="cpu", steps=1))
    height, width = np.array(Image.open(io.BytesIO(made["people-1.jpg"]))).shape[:2]
    rows, crops = 2, 10
    assert height == rows * (192 + 16) + 6
    assert width == crops * 192 + (crops - 1) * 6
