"""Damaged files are read or refused: no other error, no warning, no line on stderr."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from refacer.errors import InputRefused, ShapeMismatch
from refacer.files import Source, encode_codes, encode_display, encode_png, read_codes, read_source

LIMIT = 10**6
ROUNDS = 60
KINDS = [
    *(f"{format}-{bits}-{channels}" for format in ("PNG", "TIFF") for bits in (8, 16) for channels in (3, 4)),
    *("WEBP-8-3", "WEBP-8-4", "JPEG-8-3", "webp-lossy", "jpeg-progressive", "jpeg-cmyk", "mpo", "png-palette"),
    *("tiff-raw", "tiff-lzw", "tiff-jpeg", "tiff-group4"),
]

pytestmark = pytest.mark.filterwarnings("ignore::refacer.errors.RefacerWarning")


@pytest.fixture
def sound(picture, saved, exif, srgb):
    """A function: kind -> an undamaged file."""

    def make(kind):
        rgb = Image.fromarray(picture())
        others = {
            "webp-lossy": lambda: saved(rgb, "WEBP", exif=exif),
            "jpeg-progressive": lambda: saved(rgb, "JPEG", progressive=True, exif=exif),
            "jpeg-cmyk": lambda: saved(rgb.convert("CMYK"), "JPEG", icc_profile=srgb),
            "mpo": lambda: saved(rgb, "MPO", save_all=True, append_images=[rgb]),
            "png-palette": lambda: saved(rgb.quantize(16), "PNG"),
            "tiff-raw": lambda: saved(rgb, "TIFF", exif=exif.tobytes()),
            "tiff-lzw": lambda: saved(rgb, "TIFF", compression="tiff_lzw"),
            "tiff-jpeg": lambda: saved(rgb, "TIFF", compression="jpeg"),
            "tiff-group4": lambda: saved(rgb.convert("1"), "TIFF", compression="group4"),
        }
        if kind in others:
            return others[kind]()
        format, bits, channels = kind.split("-")
        native = picture(int(channels), np.uint8 if bits == "8" else np.uint16)
        return encode_display(native, Source(native, srgb, exif.tobytes()[6:]), format, None)

    return make


def check_message(error):
    assert "\n" not in str(error)
    assert str(error).startswith("stdin: ")


def attempt(data):
    """Read or refuse a picture; anything else fails the test."""
    try:
        source = read_source(data, max_pixels=LIMIT)
    except InputRefused as error:
        check_message(error)
        return None
    assert source.native.shape[2] in (3, 4)
    assert source.native.dtype in (np.uint8, np.uint16)
    assert source.rgb.shape == (source.info.height, source.info.width, 3)
    return source


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits(capfd, rng, sound, kind):
    data = sound(kind)
    assert attempt(data) is not None
    for _ in range(ROUNDS):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            damaged[at] ^= 1 << rng.integers(0, 8)
        attempt(bytes(damaged))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_wild_headers(capfd, rng, sound, kind):
    data = sound(kind)
    for _ in range(ROUNDS):
        damaged = bytearray(data)
        for at in rng.integers(0, min(len(data), 300), rng.integers(1, 6)):
            damaged[at] = rng.choice([0, 1, 127, 128, 255])
        attempt(bytes(damaged))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off(capfd, sound, kind):
    data = sound(kind)
    whole = attempt(data)
    assert whole is not None
    for size in np.linspace(0, len(data) - 1, ROUNDS).astype(int):
        source = attempt(data[:size])  # what lies behind the pixels of a TIFF or a second picture may be missing
        assert source is None or np.array_equal(source.native, whole.native) or kind in ("tiff-group4", "tiff-jpeg")
    assert capfd.readouterr().err == ""


def test_every_single_bit_of_a_png_is_guarded(passport):
    data = encode_png(np.zeros((2, 2, 3), np.uint8), passport)
    for at in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(InputRefused):
            read_source(bytes(damaged), max_pixels=LIMIT)


def test_damaged_codes(rng, passport):
    data = encode_codes(rng.normal(size=(1, 2, 3)).astype(np.float32), passport)
    np.load(BytesIO(data))
    for round_ in range(600):
        damaged = bytearray(data[: rng.integers(0, len(data))] if round_ % 3 == 0 else data)
        for at in rng.integers(0, min(160, len(damaged)), 3) if damaged else ():
            damaged[at] ^= 1 << rng.integers(0, 8)
        try:
            codes, _ = read_codes(bytes(damaged))
        except (InputRefused, ShapeMismatch) as error:
            check_message(error)
        else:
            assert codes.ndim == 3
            assert np.isfinite(codes).all()
