import os
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from refacer.errors import InputRefused, RefacerWarning, UsageError
from refacer.files import Source, encode_display, read_source
from refacer.files.decoding import open_picture

LIMIT = 10**6


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(picture, saved, format, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(picture(), format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    plain = Image.open(BytesIO(data))
    expected = np.asarray(plain if format == "TIFF" else ImageOps.exif_transpose(plain))
    source = read_source(data, max_pixels=LIMIT)
    assert source.native.shape == ((24, 30, 3) if orientation < 5 else (30, 24, 3))
    assert np.array_equal(source.native, expected)
    assert source.exif is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_deep_tiff_is_turned_like_a_shallow_one(picture, tiff_of, orientation, depth):
    pixels = picture(3, np.uint16)
    stored = pixels if depth == np.uint16 else (pixels >> 8).astype(np.uint8)
    source = read_source(tiff_of(stored, t274=orientation), max_pixels=LIMIT)
    turned = Image.fromarray((pixels >> 8).astype(np.uint8))
    turned.getexif()[274] = orientation
    shown = np.asarray(ImageOps.exif_transpose(turned))
    assert source.native.dtype == depth
    assert np.array_equal(source.native if depth == np.uint8 else source.native >> 8, shown)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "PA"])
def test_modes_become_rgb_or_rgba(picture, saved, mode):
    image = Image.fromarray(picture(4 if "A" in mode else 3)).convert(mode)
    format = "TIFF" if mode == "PA" else "PNG"
    source = read_source(saved(image, format), max_pixels=LIMIT)
    assert source.native.dtype == np.uint8
    assert source.has_alpha == (mode in ("LA", "RGBA", "PA"))
    assert np.array_equal(source.native, np.asarray(image.convert("RGBA" if source.has_alpha else "RGB")))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
@pytest.mark.parametrize("options", [{"format": "BMP"}, {"format": "TGA"}, {"format": "TGA", "compression": "tga_rle"}])
def test_bmp_and_tga(picture, saved, mode, options):
    image = Image.fromarray(picture(4 if mode == "RGBA" else 3)).convert(mode)
    source = read_source(saved(image, **options), max_pixels=LIMIT)
    alpha = mode == "RGBA" and options["format"] == "TGA"
    assert source.format == options["format"]
    assert np.array_equal(source.native, np.asarray(image.convert("RGBA" if alpha else "RGB")))


def test_animated_avif_is_its_first_picture(picture, saved):
    frames = [Image.fromarray(255 - picture())]
    data = saved(Image.fromarray(picture()), "AVIF", quality=100, save_all=True, append_images=frames)
    with pytest.warns(RefacerWarning, match="holds 2 pictures"):
        assert np.abs(read_source(data, max_pixels=LIMIT).rgb.astype(int) - picture()).mean() < 12


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_compressions(picture, saved, compression):
    source = read_source(saved(picture(), "TIFF", compression=compression), max_pixels=LIMIT)
    assert np.abs(source.native.astype(int) - picture()).max() <= (40 if compression == "jpeg" else 0)


@pytest.mark.parametrize(("bits", "row", "key"), [(1, 0xAA, 1), (2, 0x1B, 3), (4, 0x0F, 15), (8, 0xFF, 255)])
def test_a_transparent_grey_value_in_few_bits(png_of, bits, row, key):
    data = png_of([bytes([row] * bits)], 8, bits, 0, ("tRNS", struct.pack(">H", key)))
    pixels = read_source(data, max_pixels=LIMIT).native
    assert pixels.shape == (1, 8, 4)
    assert np.array_equal(pixels[..., 3] == 0, pixels[..., 0] == 255)
    assert (pixels[..., 3] == 0).any()


def test_transparent_palette_entries(png_of):
    data = png_of([b"\x1b"], 4, 2, 3, ("PLTE", bytes(range(12))), ("tRNS", b"\x10\x20"))
    pixels = read_source(data, max_pixels=LIMIT).native
    assert pixels[0].tolist() == [[0, 1, 2, 16], [3, 4, 5, 32], [6, 7, 8, 255], [9, 10, 11, 255]]


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_png_are_exact(picture, png_of, color_type, channels):
    pixels = picture(4, np.uint16)[..., [0, 3] if channels == 2 else slice(channels)]
    rows = [row.astype(">u2").tobytes() for row in pixels]
    source = read_source(png_of(rows, 30, 16, color_type), max_pixels=LIMIT)
    grey = pixels[..., [0, 0, 0, *([1] if channels == 2 else [])]]
    assert source.depth == 16
    assert np.array_equal(source.native, grey if channels < 3 else pixels)


@pytest.mark.parametrize("color_type", [0, 2])
def test_a_transparent_colour_in_sixteen_bits(picture, png_of, color_type):
    pixels = picture(1 if color_type == 0 else 3, np.uint16)
    key = pixels[3, 4]
    rows = [row.astype(">u2").tobytes() for row in pixels]
    source = read_source(png_of(rows, 30, 16, color_type, ("tRNS", key.astype(">u2").tobytes())), max_pixels=LIMIT)
    assert np.array_equal(source.native[..., :3], np.broadcast_to(pixels, (24, 30, 3)))
    assert np.array_equal(source.native[..., 3] == 0, (pixels == key).all(axis=2))
    assert set(np.unique(source.native[..., 3])) == {0, 65535}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_of_tiff_are_exact(picture, tiff_of, order, channels):
    pixels = picture(channels, np.uint16)
    tags = {"t262": 1} if channels == 1 else {"t338": 2} if channels == 4 else {}
    source = read_source(tiff_of(pixels, order, **tags), max_pixels=LIMIT)
    assert np.array_equal(source.native, np.broadcast_to(pixels, (24, 30, max(3, channels))))


def test_white_is_zero_in_sixteen_bits(picture, tiff_of):
    pixels = picture(1, np.uint16)
    source = read_source(tiff_of(pixels, t262=0), max_pixels=LIMIT)
    assert np.array_equal(source.native[..., :1], 65535 - pixels)


def test_colours_multiplied_by_alpha_are_divided(tiff_of):
    multiplied = np.array([[[100, 200, 30000, 32768], [5, 0, 0, 0], [65535, 1, 2, 65535]]], np.uint16)
    source = read_source(tiff_of(multiplied, t338=1), max_pixels=LIMIT)
    assert source.native[0, 0].tolist() == [200, 400, 59999, 32768]
    assert source.native[0, 2].tolist() == [65535, 1, 2, 65535]


def test_planes_in_sixteen_bits_are_refused_not_misread(picture, tiff_of):
    with pytest.raises(InputRefused, match="plane by plane"):
        read_source(tiff_of(picture(3, np.uint16), planar=2), max_pixels=LIMIT)
    assert np.array_equal(read_source(tiff_of(picture(), planar=2), max_pixels=LIMIT).native, picture())


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(saved, cmyk_profile, format):
    inks = Image.new("CMYK", (16, 16), (255, 0, 255, 0))
    plain = read_source(saved(inks, format), max_pixels=LIMIT)
    printed = read_source(saved(inks, format, icc_profile=cmyk_profile), max_pixels=LIMIT)
    assert plain.native[8, 8, 1] > 150
    assert plain.native[8, 8, 0] < 90
    assert printed.native[8, 8, 0] > printed.native[8, 8, 1] + 100
    assert printed.icc is None


def test_a_broken_cmyk_profile_is_ignored(saved, cmyk_profile):
    inks = Image.new("CMYK", (16, 16), (255, 0, 255, 0))
    source = read_source(saved(inks, "JPEG", icc_profile=cmyk_profile[:200]), max_pixels=LIMIT)
    assert source.native[8, 8, 1] > 150


def test_bits_that_are_not_read_are_told(tiff_of):
    """CMYK and Lab have 8 bits here, whatever the file has."""
    inks = np.zeros((16, 16, 4), np.uint16)
    inks[..., 1] = 0xFF00
    with pytest.warns(RefacerWarning, match="has 16 bits a sample; 8 of them are read"):
        source = read_source(tiff_of(inks, t262=5), max_pixels=LIMIT)
    assert source.native.dtype == np.uint8
    assert source.native[8, 8, 0] > source.native[8, 8, 1] + 100


def test_an_avif_tells_its_bits(picture, saved):
    decoded = open_picture(saved(picture(), "AVIF"), LIMIT)
    assert decoded.bits == 8
    for flags, bits in ((0x4C, 10), (0x6C, 12)):
        changed = bytearray(decoded.data)
        changed[changed.find(b"av1C") + 6] = flags
        assert replace(decoded, data=bytes(changed)).bits == bits


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_profiles_of_rgb_are_kept(picture, saved, srgb, format):
    assert read_source(saved(picture(), format, icc_profile=srgb), max_pixels=LIMIT).icc == srgb
    grey = srgb[:16] + b"GRAY" + srgb[20:]
    assert read_source(saved(picture(), format, icc_profile=grey), max_pixels=LIMIT).icc is None


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_is_kept_without_place_and_orientation(picture, saved, exif, format):
    source = read_source(saved(picture(), format, exif=exif.tobytes()), max_pixels=LIMIT)
    kept = Image.Exif()
    kept.load(source.exif or b"")
    assert kept[271] == "Maker"
    assert kept.get_ifd(34665) == {36867: "2020:01:01 00:00:00"}
    assert not {274, 34853} & set(kept)
    assert b"river" not in (source.exif or b"")


@pytest.mark.parametrize("format", ["WEBP", "PNG", "TIFF"])
def test_only_the_first_picture_is_read(picture, saved, format):
    first, second = Image.fromarray(picture()), Image.fromarray(255 - picture())
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(first, format, save_all=True, append_images=[second], **options)
    with pytest.warns(RefacerWarning, match=r"^stdin: holds 2 pictures \(pages or frames\)"):
        assert np.array_equal(read_source(data, max_pixels=LIMIT).native, picture())


def test_a_stereo_jpeg_is_a_jpeg(picture, saved):
    data = saved(Image.fromarray(picture()), "MPO", save_all=True, append_images=[Image.fromarray(picture())])
    with pytest.warns(RefacerWarning, match="holds 2 pictures"):
        assert read_source(data, max_pixels=LIMIT).format == "JPEG"


def test_rgb_flattens_on_mid_grey():
    pixels = np.array([[[200, 0, 50, 0], [200, 0, 50, 255], [255, 0, 1, 128]]], np.uint8)
    assert Source(pixels).rgb.tolist() == [[[128, 128, 128], [200, 0, 50], [192, 64, 64]]]
    assert np.array_equal(Source(pixels.astype(np.uint16) * 257).rgb, Source(pixels).rgb)


def test_sixteen_bits_are_rounded_to_eight():
    levels = np.array([0, 128, 129, 257, 32768, 65406, 65407, 65535], np.uint16)
    expected = [round(level / 257) for level in levels.tolist()]
    assert Source(np.repeat(levels, 3).reshape(1, -1, 3)).rgb[0, :, 0].tolist() == expected


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_the_hash_survives_saving_again(picture, format, dtype, channels):
    source = Source(picture(channels, dtype))
    again = read_source(encode_display(source.native, source, format, None), max_pixels=LIMIT)
    assert again.info == source.info
    assert (again.info.width, again.info.height) == (30, 24)


def test_the_hash_is_of_what_is_seen(picture):
    pixels = picture()
    opaque = np.dstack([pixels, np.full((24, 30), 255, np.uint8)])
    assert Source(opaque).info == Source(pixels).info == Source(opaque.astype(np.uint16) * 257).info
    changed = pixels.copy()
    changed[5, 6, 1] ^= 1
    assert Source(changed).info.sha256 != Source(pixels).info.sha256
    assert Source(pixels.reshape(30, 24, 3)).info.sha256 != Source(pixels).info.sha256
    assert Source(pixels.swapaxes(0, 1).swapaxes(0, 1)).info == Source(pixels).info


def _claiming(format, saved, png_of, tiff_of):
    """Small files that claim 30000 x 40000 pixels."""
    width, height = 30000, 40000
    if format == "PNG":
        return png_of([b""] * height, width, 8, 2)
    if format == "TIFF":
        return tiff_of(np.zeros((8, 8, 3), np.uint8), t256=width, t257=height)
    data = bytearray(saved(np.zeros((8, 8, 3), np.uint8), format, **({"exif": b"x"} if format == "WEBP" else {})))
    if format == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    if format == "WEBP":
        data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_claimed_size_is_refused_before_decoding(saved, png_of, tiff_of, format):
    data = _claiming(format, saved, png_of, tiff_of)
    with pytest.raises(InputRefused, match=r"stdin: 30000x40000 is more than 200000000 pixels"):
        read_source(data, max_pixels=200_000_000)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_pillow_neither_warns_nor_limits(monkeypatch, picture, saved, format):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_source(saved(picture(), format), max_pixels=720).native.shape == (24, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(InputRefused, match="30x24"):
        read_source(saved(picture(), format), max_pixels=719)


@pytest.mark.parametrize(
    "data", [b"", b"hello\n", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0", b"\xff\xd8\xff"]
)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "a\nb.png"
    path.write_bytes(data)
    for given, name in ((path, "'"), (data, "stdin: ")):
        with pytest.raises(InputRefused) as caught:
            read_source(given, max_pixels=LIMIT)
        assert str(caught.value).startswith(name)
        assert "\n" not in str(caught.value)


def test_a_name_can_be_given(saved):
    with pytest.raises(InputRefused, match=r"^set.zip::7.png: "):
        read_source(b"x", max_pixels=LIMIT, name="set.zip::7.png")


def test_missing_files_and_folders_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_source(tmp_path / "none.png", max_pixels=LIMIT)
    with pytest.raises(UsageError, match="a folder"):
        read_source(tmp_path, max_pixels=LIMIT)
    with pytest.raises(UsageError, match="no such file"):
        read_source(tmp_path / "a\0b.png", max_pixels=LIMIT)


def test_a_damaged_description_costs_no_picture(picture, saved, tiff_of, exif):
    twice = struct.pack("<HHII", 296, 4, 2, 8)  # a unit of resolution given two times: Pillow warns
    broken = tiff_of(picture(), t296=8).replace(struct.pack("<HHII", 296, 4, 1, 8), twice)
    assert twice in broken
    assert np.array_equal(read_source(broken, max_pixels=LIMIT).native, picture())
    block = exif.tobytes()[:14] + b"\xff" * 60
    data = saved(picture(), "WEBP", lossless=True, exif=block)
    assert np.array_equal(read_source(data, max_pixels=LIMIT).native, picture())


def test_threads_leave_the_process_as_it_was(picture, tiff_of, saved):
    files = [tiff_of(picture(3, np.uint16)), saved(picture(), "PNG"), saved(picture(), "TIFF"), b"II*\0damaged"] * 10
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS, os.fstat(2)

    def read(data):
        try:
            return read_source(data, max_pixels=LIMIT).native.shape
        except InputRefused:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, files)) == [(24, 30, 3), (24, 30, 3), (24, 30, 3), None] * 10
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS, os.fstat(2)) == before


def test_floating_point_pixels_are_refused(saved):
    with pytest.raises(InputRefused, match="F pixels"):
        read_source(saved(np.zeros((4, 4), np.float32), "TIFF"), max_pixels=LIMIT)
