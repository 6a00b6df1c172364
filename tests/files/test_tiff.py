"""The picture of a TIFF: among pages, and its samples of no stated meaning."""

import struct

import numpy as np
import pytest

from refacer.errors import InputRefused, RefacerWarning
from refacer.files import encode_display, read_source
from refacer.files.tiff import read_tiff

LIMIT = 10**6


def chained(first: bytes, second: bytes, order: str = "<") -> bytes:
    """Two pages, the second one made for where the first one ends."""
    count = struct.unpack_from(order + "H", first, 8)[0]
    at = 10 + 12 * count
    return first[:at] + struct.pack(order + "I", len(first)) + first[at + 4 :] + second


@pytest.fixture
def pages(picture, tiff_of):
    """A function: tags of a first page of half the size and of a second one -> their file, the second's pixels."""

    def write(small_tags, large_tags, dtype=np.uint8, order="<", inner=False):
        large = picture(3, dtype)
        small = tiff_of(large[::2, ::2], order, **small_tags)
        if inner:
            small = tiff_of(large[::2, ::2], order, **small_tags, t330=len(small) + 12)
            return small + tiff_of(large, order, start=len(small), **large_tags), large
        return chained(small, tiff_of(large, order, start=len(small), **large_tags), order), large

    return write


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("inner", [False, True])
def test_a_reduced_first_page_is_not_the_picture(pages, dtype, order, inner):
    data, large = pages({"t254": 1}, {}, dtype, order, inner)
    source = read_source(data, max_pixels=LIMIT)
    assert source.native.dtype == dtype
    assert np.array_equal(source.native, large)


def test_a_first_page_that_shows_the_same_in_small(pages):
    data, large = pages({}, {})
    assert np.array_equal(read_source(data, max_pixels=LIMIT).native, large)


def test_the_largest_of_reduced_pages(pages):
    data, large = pages({"t254": 1}, {"t254": 1})
    assert np.array_equal(read_source(data, max_pixels=LIMIT).native, large)


def test_masks_and_sensors_are_no_pictures(pages):
    for tags in ({"t254": 4}, {"t262": 32803}, {"t254": 1}):
        data, large = pages({}, tags)
        assert np.array_equal(read_source(data, max_pixels=LIMIT).native, large[::2, ::2])


def test_the_size_of_the_page_that_is_read_counts(pages):
    data, _ = pages({"t254": 1}, {"t256": 30_000, "t257": 40_000})
    with pytest.raises(InputRefused, match="30000x40000"):
        read_source(data, max_pixels=200_000_000)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_last_sample_of_no_stated_meaning_is_transparency(picture, tiff_of, dtype, channels):
    pixels = picture(4, dtype)[..., [0, 3] if channels == 2 else slice(None)]
    if channels == 2 and dtype == np.uint16:
        with pytest.raises(InputRefused):
            read_source(tiff_of(pixels, t338=0, t262=1), max_pixels=LIMIT)
        return
    data = tiff_of(pixels, t338=0, t262=1 if channels == 2 else 2)
    with pytest.warns(RefacerWarning, match="taken for transparency"):
        source = read_source(data, max_pixels=LIMIT)
    assert np.array_equal(source.native, pixels[..., [0, 0, 0, 1]] if channels == 2 else pixels)
    again = read_source(encode_display(source.native, source, "PNG", None), max_pixels=LIMIT)
    assert np.array_equal(again.native, source.native)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_is_none_where_nothing_would_be_seen_and_not_told_where_all_is(picture, tiff_of, dtype):
    pixels = picture(4, dtype)
    pixels[..., 3] = 0
    with pytest.warns(RefacerWarning, match="1 channels beyond colour"):
        assert np.array_equal(read_source(tiff_of(pixels, t338=0), max_pixels=LIMIT).native, pixels[..., :3])
    pixels[..., 3] = np.iinfo(dtype).max
    assert np.array_equal(read_source(tiff_of(pixels, t338=0), max_pixels=LIMIT).native, pixels)


def test_further_channels_are_told(saved, picture):
    data = saved(picture(4), "TIFF")
    assert read_tiff(data).spare == 0
    five = data.replace(struct.pack("<HHIHH", 277, 3, 1, 4, 0), struct.pack("<HHIHH", 277, 3, 1, 5, 0))
    assert read_tiff(five).spare == 1


@pytest.mark.parametrize("cut", range(9, 200, 7))
def test_damaged_directories_are_left_to_the_decoders(picture, tiff_of, cut):
    data = tiff_of(picture(), t338=0)[:cut]
    assert read_tiff(data).further == 0
    with pytest.raises(InputRefused):
        read_source(data, max_pixels=LIMIT)


def test_pages_in_a_circle_end(picture, tiff_of):
    data = tiff_of(picture())
    assert read_tiff(chained(data, b"").replace(struct.pack("<I", len(data)), struct.pack("<I", 8), 1)).further == 0
