from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.errors import OutputNotWritable, UsageError
from refacer.files import (
    LABEL_PALETTE,
    Source,
    carries_passport,
    encode_display,
    encode_labels,
    encode_mask,
    encode_png,
    format_of,
    keeps_pixels,
    read_mask,
    read_source,
)
from refacer.files.artefacts import Display, like_picture, read_picture
from refacer.types import Passport, SourceInfo

LIMIT = 10**6
FORMATS = ("PNG", "TIFF", "WEBP", "JPEG")
SOURCE_TYPE = b"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_pixels_come_back_where_the_format_keeps_them(picture, format, dtype, channels):
    native = picture(channels, dtype)
    again = read_source(encode_display(native, Source(native), format, None), max_pixels=LIMIT)
    kept = keeps_pixels(format, again.depth if dtype == np.uint8 else 16)
    assert np.array_equal(again.native, native) == kept
    assert again.format == format
    assert again.depth == (16 if dtype == np.uint16 and kept else 8)
    assert again.has_alpha == (channels == 4 and format != "JPEG")


@pytest.mark.parametrize("height", [1, 500])
def test_a_tiff_of_one_row_and_of_many_strips(rng, height):
    native = rng.integers(0, 65536, (height, 700, 4), dtype=np.uint16)
    data = encode_display(native, Source(native), "TIFF", None)
    assert np.array_equal(read_source(data, max_pixels=LIMIT).native, native)
    assert Image.open(BytesIO(data)).tag_v2[338] == (2,)  # pyright: ignore[reportAttributeAccessIssue]


def test_pillow_reads_our_sixteen_bit_tiff(picture, srgb):
    native = picture(3, np.uint16)
    image = Image.open(BytesIO(encode_display(native, Source(native, icc=srgb), "TIFF", None)))
    assert image.info["icc_profile"] == srgb
    assert np.array_equal(np.asarray(image), native >> 8)


def test_webp_keeps_colours_that_cannot_be_seen():
    native = np.full((8, 8, 4), (200, 10, 60, 0), np.uint8)
    assert np.array_equal(
        read_source(encode_display(native, Source(native), "WEBP", None), max_pixels=99).native, native
    )


def test_jpeg_is_near_puts_transparency_on_white_and_has_full_colour():
    native = np.full((16, 16, 4), (200, 10, 60, 255), np.uint8)
    native[:, 8:, 3] = 0
    data = encode_display(native, Source(native), "JPEG", None)
    pixels = read_source(data, max_pixels=LIMIT).native.astype(int)
    assert np.abs(pixels[:, :7] - (200, 10, 60)).max() < 12
    assert pixels[:, 9:].min() > 243
    assert Image.open(BytesIO(data)).layer[0][1:3] == (1, 1)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profile_exif_and_origin_travel_along(picture, saved, exif, srgb, format, dtype):
    native = picture(3, dtype)
    carried = read_source(saved(picture(), "JPEG", exif=exif, icc_profile=srgb), max_pixels=LIMIT)
    source = Source(native, carried.icc, carried.exif)
    data = encode_display(native, source, format, None)
    again = read_source(data, max_pixels=LIMIT)
    kept = Image.Exif()
    kept.load(again.exif or b"")
    assert again.icc == srgb
    assert kept[271] == "Maker"
    assert kept.get_ifd(34665) == {36867: "2020:01:01 00:00:00"}
    assert again.native.shape == native.shape  # nothing turns it a second time
    assert SOURCE_TYPE in data
    xmp = Image.open(BytesIO(data)).info
    assert SOURCE_TYPE in (xmp.get("xmp") or xmp["XML:com.adobe.xmp"].encode())


def test_exif_beyond_a_jpeg_block_is_left_out(picture):
    block = Image.Exif()
    block[270] = "x" * 70_000
    source = Source(picture(), exif=block.tobytes()[6:])
    assert read_source(encode_display(source.native, source, "JPEG", None), max_pixels=LIMIT).exif is None
    assert read_source(encode_display(source.native, source, "PNG", None), max_pixels=LIMIT).exif is not None


def test_a_png_keeps_its_colour_chunks(png_of):
    gamma, pixel_size = b"\0\0\xb1\x8f", b"\0\0\x0b\x13\0\0\x0b\x13\1"
    data = png_of([bytes(9)] * 2, 3, 8, 2, ("gAMA", gamma), ("pHYs", pixel_size), ("tEXt", b"Author\0me"))
    source = read_source(data, max_pixels=LIMIT)
    again = encode_display(source.native, source, "PNG", None)
    assert source.color == ((b"gAMA", gamma), (b"pHYs", pixel_size))
    assert read_source(again, max_pixels=LIMIT).color == source.color
    assert Image.open(BytesIO(again)).info["gamma"] == pytest.approx(0.45455)
    assert b"Author" not in again


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_passport_travels_inside_a_png(picture, passport, dtype):
    native = picture(4, dtype)
    data = encode_display(native, Source(native), "PNG", passport)
    assert read_source(data, max_pixels=LIMIT).passport == passport
    assert Image.open(BytesIO(data)).info["refacer"] == passport.to_json()


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "JPEG"])
def test_other_formats_carry_none(picture, passport, format):
    data = encode_display(picture(), Source(picture()), format, passport)
    assert read_source(data, max_pixels=LIMIT).passport is None
    assert not carries_passport(format)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equal_pictures_give_equal_files(picture, passport, srgb, format, dtype):
    native = picture(4, dtype)
    assert encode_display(native, Source(native, srgb), format, passport) == encode_display(
        native.copy(), Source(native, srgb), format, passport
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_grey_is_written_as_grey(picture, rng, format, alpha, dtype):
    grey = picture(1, dtype)
    native = np.dstack([grey, grey, grey, rng.integers(0, 9, grey.shape).astype(dtype)][: 3 + alpha])
    again = read_source(encode_display(native, Source(native, grey=True), format, None), max_pixels=LIMIT)
    rare = format == "TIFF" and alpha and dtype == np.uint16
    assert again.grey == (format != "WEBP" and not rare)
    assert again.colorless
    if keeps_pixels(format, 8 * native.itemsize):
        assert np.array_equal(again.native, native)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_a_pillow_image_keeps_its_one_channel(saved, mode):
    image = Image.new(mode, (4, 5), 1)
    display = Display(read_picture(image), read_picture(image).native, Passport(SourceInfo(4, 5, ""), ()))
    assert like_picture(image, display).mode == ("L" if mode == "1" else mode)


def test_impossible_outputs_are_worded(picture):
    with pytest.raises(UsageError, match="GIF"):
        encode_display(picture(), Source(picture()), "GIF", None)
    for format, side in (("WEBP", 16_384), ("JPEG", 65_536)):
        with pytest.raises(OutputNotWritable, match=f"{side} px is too long for {format}"):
            encode_display(np.zeros((1, side, 3), np.uint8), Source(picture()), format, None)


def test_faces_round_trip(picture, passport):
    data = encode_png(picture(), passport)
    source = read_source(data, max_pixels=LIMIT)
    assert np.array_equal(source.native, picture())
    assert source.passport == passport
    assert encode_png(picture(), None) == encode_png(picture(), None)
    assert read_source(encode_png(picture(), None), max_pixels=LIMIT).passport is None


def test_masks_round_trip(rng, passport):
    mask = rng.random((24, 30)) > 0.5
    data = encode_mask(mask, passport)
    assert set(np.unique(np.asarray(Image.open(BytesIO(data))))) == {0, 255}
    again, found = read_mask(data, max_pixels=LIMIT)
    assert again.dtype == np.bool_
    assert np.array_equal(again, mask)
    assert found == passport


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_masks_of_other_tools(rng, saved, mode):
    mask = rng.random((24, 30)) > 0.5
    grey = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
    image = Image.fromarray(np.where(mask, 65535, 0).astype(np.uint16)) if mode == "I;16" else grey.convert(mode)
    assert np.array_equal(read_mask(saved(image, "PNG"), max_pixels=LIMIT)[0], mask)


def test_a_mask_is_what_is_bright_and_not_transparent(saved):
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    assert read_mask(saved(grey, "PNG"), max_pixels=LIMIT)[0].tolist() == [[False, False, True, True]]
    clear = np.dstack([np.full((1, 2, 3), 255, np.uint8), np.array([[0, 255]], np.uint8)])
    assert read_mask(saved(clear, "PNG"), max_pixels=LIMIT)[0].tolist() == [[False, True]]


def test_labels_round_trip_in_nineteen_colours(passport):
    labels = np.arange(19, dtype=np.uint8).repeat(2).reshape(2, 19)
    data = encode_labels(labels, passport)
    stored = Image.open(BytesIO(data))
    assert stored.mode == "P"
    assert np.array_equal(np.array(stored), labels)
    assert read_source(data, max_pixels=LIMIT).passport == passport
    seen = stored.convert("RGB")
    assert seen.getpixel((0, 0)) == LABEL_PALETTE[0]
    assert len(set(LABEL_PALETTE)) == len(LABEL_PALETTE) == 19


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.png", "PNG"),
        ("a.JPG", "JPEG"),
        ("b.jpeg", "JPEG"),
        ("c.WebP", "WEBP"),
        ("d.tif", "TIFF"),
        ("d.x.tiff", "TIFF"),
    ],
)
def test_the_suffix_names_the_format(name, format):
    assert format_of(Path(name)) == format


def test_other_suffixes_name_none():
    assert format_of(Path("a.gif")) is format_of(Path("png")) is format_of(Path("a.npy")) is None
