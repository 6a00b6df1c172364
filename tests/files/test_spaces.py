"""What stages see of a picture in any space of colours, and how what they finish goes back into it."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from refacer.files import Source, converts, encode_display, read_source
from refacer.files.artefacts import Display, like_picture, read_picture
from refacer.files.icc import BT709_PRIMARIES, D65, SRGB_TO_XYZ, xyz_from_primaries
from refacer.files.spaces import TableSpace, encoded, srgb_light
from refacer.types import Passport, SourceInfo

LIMIT = 10**6
BT2020 = np.array([[0.708, 0.292], [0.170, 0.797], [0.131, 0.046]])
ADOBE = np.array([[0.64, 0.33], [0.21, 0.71], [0.15, 0.06]])


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc_of(tags: dict[bytes, bytes], space: bytes = b"RGB ", pcs: bytes = b"XYZ ") -> bytes:
    """A display profile of any tags (ICC.1:2022, 7)."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249), **tags}
    entries, body, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        entries += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(body), 0x04200000, b"mntr", space, pcs, b"acsp")
    head = head.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def shaper(curve: bytes, primaries: NDArray[Any] = BT709_PRIMARIES) -> bytes:
    """A profile of one curve and a matrix."""
    columns = xyz_from_primaries(primaries, D65).T
    xyz = {f"{name}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(*column) for name, column in zip("rgb", columns, strict=True)}
    return icc_of({**xyz, **{f"{name}TRC".encode(): curve for name in "rgb"}})


def grid_of(tags: list[bytes]) -> bytes:
    """A profile of tables (`lut8Type`) in which every colour is a grey, of its three channels' mean."""
    tables = {}
    for name in tags:
        corners = range(8)  # of a cube whose first axis changes slowest
        if name == b"A2B0":
            nodes = [(255 * bin(corner).count("1") // 3, 128, 128) for corner in corners]
        else:
            nodes = [(255 * (corner >> 2),) * 3 for corner in corners]
        head = struct.pack(">4s4xBBBx", b"mft1", 3, 3, 2) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        straight = bytes(range(256)) * 3
        tables[name] = head + straight + bytes(level for node in nodes for level in node) + straight
    return icc_of(tables, pcs=b"Lab ")


LINEAR, GAMMA_2 = b"curv\0\0\0\0" + struct.pack(">I", 0), b"curv\0\0\0\0" + struct.pack(">IH", 1, 512)
SRGB_CURVE = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
TABLE = np.rint((np.linspace(0, 1, 512) ** 1.8) * 65535).astype(">u2").tobytes()
GAMMA_18 = b"curv\0\0\0\0" + struct.pack(">I", 512) + TABLE


def pq(light: NDArray[Any]) -> NDArray[Any]:
    """SMPTE ST 2084 of multiples of 203 cd/m²."""
    power = (light * 203 / 10_000) ** (2610 / 16384)
    return ((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def chunk(kind: str, *numbers: int) -> tuple[bytes, bytes]:
    body = bytes(numbers) if kind in ("cICP", "sRGB") else struct.pack(f">{len(numbers)}I", *numbers)
    return kind.encode(), body


ROUND = {
    "gAMA 1.0": ({"color": (chunk("gAMA", 100_000),)}, lambda light: light),
    "gAMA 1/1.8": ({"color": (chunk("gAMA", 55_556),)}, lambda light: light ** (1 / 1.8)),
    "profile, linear": ({"icc": shaper(LINEAR)}, lambda light: light),
    "profile, a table": ({"icc": shaper(GAMMA_18)}, lambda light: light ** (1 / 1.8)),
    "profile, wide": ({"icc": shaper(GAMMA_2, ADOBE)}, lambda light: _seen(light, ADOBE) ** 0.5),
    "profile before gAMA": ({"icc": shaper(LINEAR), "color": (chunk("gAMA", 45_455),)}, lambda light: light),
    "cICP before profile": ({"icc": shaper(GAMMA_2), "color": (chunk("cICP", 1, 8, 0, 1),)}, lambda light: light),
    "cICP, BT.2020 and PQ": ({"color": (chunk("cICP", 9, 16, 0, 1),)}, lambda light: pq(_seen(light, BT2020))),
    "cHRM": (
        {"color": (chunk("cHRM", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),)},
        lambda light: encoded(_seen(light, ADOBE)),
    ),
}  # fmt: skip


def _seen(light: NDArray[Any], primaries: NDArray[Any]) -> NDArray[Any]:
    return (light @ np.linalg.solve(xyz_from_primaries(primaries, D65), SRGB_TO_XYZ).T).clip(0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ROUND)
def test_stages_see_srgb_and_nothing_else_changes(picture, name, dtype):
    told, stored = ROUND[name]
    top = np.iinfo(dtype).max
    srgb = 64 + picture(3) // 2  # away from the darks, where 8 bits of linear light are few
    native = np.rint(stored(srgb_light(srgb / 255)) * top).astype(dtype)
    source = read_source(encode_display(native, Source(native, **told), "PNG", None), max_pixels=LIMIT)
    assert np.abs(source.rgb.astype(int) - srgb).max() <= (0 if dtype == np.uint16 else 5)
    assert np.array_equal(source.native, native)
    assert (source.icc, source.color) == (told.get("icc"), told.get("color", ()))
    assert np.array_equal(source.returned(native, source.srgb), native)
    brighter = source.srgb.astype(np.uint16) + 2570
    back = Source(source.returned(native, brighter), space=source.space).rgb
    assert np.abs(back.astype(int) - srgb - 10).max() <= (1 if dtype == np.uint16 else 10)


def test_colours_beyond_srgb_stay_where_nothing_changes():
    source = Source(np.array([[[0, 255, 0]]], np.uint8), shaper(GAMMA_2, BT2020))
    wide = read_source(encode_display(source.native, source, "PNG", None), max_pixels=9)
    assert wide.rgb[0, 0].tolist() == [0, 255, 0]
    assert wide.returned(wide.native, wide.srgb).tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize(
    "told",
    [
        {"icc": shaper(SRGB_CURVE)},
        {"color": (chunk("gAMA", 45_455), chunk("cHRM", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))},
        {"color": (chunk("sRGB", 0), chunk("gAMA", 100_000))},
        {"color": (chunk("cICP", 1, 13, 0, 1), chunk("gAMA", 100_000))},
        {"color": (chunk("gAMA", 0),)},
        {"color": (chunk("cHRM", *[0] * 8),)},
        {"color": (chunk("cICP", 2, 2, 0, 1),)},
        {"color": (chunk("cICP", 1, 1, 0, 1),)},
        {"icc": shaper(LINEAR)[:300]},
        {"icc": icc_of({})},
        {"icc": shaper(b"junk\0\0\0\0")},
    ],
)
def test_srgb_and_what_cannot_be_used_change_nothing(picture, told):
    source = read_source(encode_display(picture(), Source(picture(), **told), "PNG", None), max_pixels=LIMIT)
    assert source.space is None
    assert source.rgb is not None
    assert np.array_equal(source.rgb, picture())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_has_a_profile_of_its_own(picture, dtype):
    native = np.repeat(picture(1, dtype), 3, axis=2)
    grey = icc_of({b"kTRC": GAMMA_18}, b"GRAY")
    source = read_source(encode_display(native, Source(native, grey, grey=True), "PNG", None), max_pixels=LIMIT)
    assert source.icc == grey
    wanted = encoded((native / np.iinfo(dtype).max) ** 1.8) * 255
    assert np.abs(source.rgb - wanted).max() <= 1
    again = source.returned(native, source.srgb + 100)
    assert np.array_equal(again[..., 0], again[..., 2])


def test_tables_go_through_little_cms(picture):
    native, profile = picture(), grid_of([b"A2B0", b"B2A0"])
    source = read_source(encode_display(native, Source(native, profile), "PNG", None), max_pixels=LIMIT)
    assert isinstance(source.space, TableSpace)
    assert np.ptp(source.rgb.astype(int), axis=2).max() <= 2
    assert np.array_equal(source.returned(native, source.srgb), native)
    assert np.array_equal(Source(native.astype(np.uint16) * 257, space=source.space).rgb, source.rgb)


def test_without_a_way_back_the_picture_is_converted(picture):
    profile = grid_of([b"A2B0"])
    source = read_source(encode_display(picture(4), Source(picture(4), profile), "PNG", None), max_pixels=LIMIT)
    assert (source.icc, source.space) == (None, None)
    assert np.ptp(source.native[..., :3].astype(int), axis=2).max() <= 2
    assert np.array_equal(source.native[..., 3], picture(4)[..., 3])


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "JPEG"])
def test_where_the_format_cannot_tell_it_is_converted(picture, format):
    native = np.rint(srgb_light(picture() / 255) * 65535).astype(np.uint16)
    by_chunk = read_source(
        encode_display(native, Source(native, color=(chunk("gAMA", 100_000),)), "PNG", None), max_pixels=LIMIT
    )
    again = read_source(encode_display(native, by_chunk, format, None), max_pixels=LIMIT)
    assert (again.space, again.icc) == (None, None)
    assert np.abs(again.rgb.astype(int) - picture()).mean() <= (4 if format == "JPEG" else 0.01)
    by_profile = Source(native, shaper(LINEAR), space=by_chunk.space)
    assert converts(by_profile, format) == (format != "TIFF")


def test_an_avif_tells_its_space_without_a_profile(picture, saved):
    data = saved(picture(), "AVIF", quality=100, subsampling="4:4:4")
    plain = read_source(data, max_pixels=LIMIT)
    assert plain.space is None
    assert np.abs(plain.rgb.astype(int) - picture()).max() <= 6
    at = data.index(b"colrnclx") + 10
    linear = read_source(data[:at] + b"\0\x08" + data[at + 2 :], max_pixels=LIMIT)
    assert np.array_equal(linear.native, plain.native)
    assert linear.rgb.mean() > plain.rgb.mean() + 30
    again = read_source(encode_display(linear.native, linear, "PNG", None), max_pixels=LIMIT)
    assert np.array_equal(again.rgb, linear.rgb)


def test_lab_is_read(picture):
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(Image.fromarray(picture()), srgb, lab, outputMode="LAB")
    assert image is not None
    buffer = BytesIO()
    image.save(buffer, "TIFF")
    for source in (read_source(buffer.getvalue(), max_pixels=LIMIT), read_picture(image)):
        assert np.abs(source.rgb.astype(int) - picture()).mean() < 4


def test_a_pillow_image_keeps_what_tells_its_space(picture, saved, png_of):
    rows = [row.tobytes() for row in picture()]
    image = Image.open(BytesIO(png_of(rows, 30, 8, 2, ("gAMA", struct.pack(">I", 100_000)))))
    source = read_picture(image)
    assert source.space is not None
    result = like_picture(image, Display(source, source.native, Passport(SourceInfo(30, 24, ""), ())))
    assert np.array_equal(read_picture(result).rgb, source.rgb)
