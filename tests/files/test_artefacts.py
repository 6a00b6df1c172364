import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from refacer.errors import InputRefused, PassportMismatch, ShapeMismatch, UsageError
from refacer.files import encode_png, png, read_source
from refacer.files.artefacts import Display, Face, Latents, Mask, own_passport, read_picture
from refacer.types import Passport

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
DRAWN = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
PASSPORT = own_passport(read_picture(PIXELS).info)


def with_rendering(body: bytes) -> bytes:
    """A face whose PNG carries this in place of a rendering."""
    return png.splice(encode_png(PIXELS, PASSPORT), [(png.RENDERING_KIND, body)])


def test_the_rendering_travels_inside_the_face(tmp_path):
    Face.of(PIXELS, PASSPORT, DRAWN).save(tmp_path / "face.png")
    face = Face.read(tmp_path / "face.png")
    assert face.rendering is not None
    assert np.array_equal(face.rendering, DRAWN)
    assert np.array_equal(face.pixels, PIXELS)
    assert face.passport == PASSPORT
    assert face.encode() == (tmp_path / "face.png").read_bytes()


def test_a_face_saved_by_another_program_has_lost_it(tmp_path):
    Face.of(PIXELS, PASSPORT, DRAWN).save(tmp_path / "face.png")
    with Image.open(tmp_path / "face.png") as picture:
        picture.save(tmp_path / "again.png")
    assert Face.read(tmp_path / "again.png").rendering is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", InputRefused),
        (b"no picture", InputRefused),
        (encode_png(DRAWN, None)[:-30], InputRefused),
        (encode_png(np.zeros((32, 32, 3), np.uint8), None), InputRefused),
        (encode_png(np.zeros((8, 8, 3), np.uint8), None), ShapeMismatch),
        (png.SIGNATURE + struct.pack(">I4s", 13, b"IHDR") + struct.pack(">IIBBBBB", 2**30, 2**30, 8, 2, 0, 0, 0)
         + struct.pack(">I", zlib.crc32(b"IHDR" + struct.pack(">IIBBBBB", 2**30, 2**30, 8, 2, 0, 0, 0))), InputRefused),
    ],
)  # fmt: skip
def test_a_rendering_is_trusted_no_more_than_a_picture(body, error):
    face = Face(read_source(with_rendering(body), max_pixels=1000))
    assert np.array_equal(face.pixels, PIXELS), "who does not need it is not troubled"
    with pytest.raises(error, match="rendering inside"):
        _ = face.rendering


def test_a_huge_chunk_is_refused_before_it_is_looked_into(monkeypatch):
    monkeypatch.setattr(png, "MAX_RENDERING_BYTES", 100)
    with pytest.raises(InputRefused, match="too large"):
        read_source(with_rendering(b"x" * 101), max_pixels=1000)


def test_pictures_of_every_kind_are_the_same_source(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(PIXELS, None))
    with Image.open(path) as image:
        kinds = [path, str(path), path.read_bytes(), image, PIXELS]
        assert len({read_picture(kind).info for kind in kinds}) == 1


def test_a_pil_image_of_a_rare_mode_is_read():
    for mode in ("1", "L", "LA", "P", "CMYK", "YCbCr", "HSV"):
        assert read_picture(Image.fromarray(PIXELS).convert(mode)).native.shape[:2] == (16, 16)


def test_what_is_square_and_what_is_one_face():
    with pytest.raises(ShapeMismatch, match="square"):
        Face.read(np.zeros((4, 5, 3), np.uint8))
    two = Passport(PASSPORT.source, PASSPORT.faces * 2)
    with pytest.raises(PassportMismatch, match="2 faces"):
        _ = Face.of(PIXELS, two).passport
    with pytest.raises(ShapeMismatch, match="square"):
        Mask.read(np.zeros((4, 5), bool))


def test_codes_and_masks_from_arrays_and_files(tmp_path):
    values = np.ones((2, 3, 4), np.float32)
    Latents(values, None).save(tmp_path / "c.npy")
    assert np.array_equal(np.load(tmp_path / "c.npy"), values)
    assert np.array_equal(Latents.read(values).values, Latents.read(tmp_path / "c.npy").values)
    with pytest.raises(InputRefused):
        Latents.read(np.full((1, 2, 3), np.nan, np.float32))
    mask = PIXELS[..., 0] > 127
    Mask(mask).save(tmp_path / "m.png")
    assert np.array_equal(Mask.read(tmp_path / "m.png").values, mask)


def test_a_display_without_a_place_for_its_passport_has_a_sidecar(tmp_path):
    display = Display(read_picture(PIXELS), PIXELS, PASSPORT)
    display.save(tmp_path / "x.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.jpg", "x.jpg.refacer.json"]
    with pytest.raises(UsageError, match=r"\.png"):
        display.save(tmp_path / "x.gif")
