import json
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refacer.errors import InputRefused, PassportMismatch, UsageError
from refacer.files import (
    Source,
    encode_codes,
    encode_display,
    encode_passport,
    encode_png,
    read_passport,
    read_source,
    sidecar_of,
)
from refacer.types import Passport

LIMIT = 10**6
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "passport.schema.json").read_text())
KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def check(value, schema):
    """The part of JSON Schema that ours uses; every property the schema names must be there, and no other."""
    schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "const" in schema:
        assert value == schema["const"]
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        assert any(isinstance(value, KINDS[kind]) for kind in kinds), (value, kinds)
    if "properties" in schema:
        assert set(value) == set(schema["properties"]) == set(schema["required"])
        assert schema["additionalProperties"] is False
        for key, part in value.items():
            check(part, schema["properties"][key])
    if isinstance(schema.get("additionalProperties"), dict):
        for part in value.values():
            check(part, schema["additionalProperties"])
    if "items" in schema:
        assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        for part in value:
            check(part, schema["items"])


def test_a_passport_fits_its_schema(passport):
    check(json.loads(passport.to_json()), SCHEMA)
    with pytest.raises(AssertionError):
        check({**json.loads(passport.to_json()), "path": "/home"}, SCHEMA)


def test_every_file_gives_its_passport(tmp_path, picture, passport):
    files = {
        "face.png": encode_png(picture(), passport),
        "codes.npy": encode_codes(np.zeros((1, 2, 3), np.float32), passport),
        "a.json": encode_passport(passport),
        "look.jpg": encode_display(picture(), Source(picture()), "JPEG", None),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    sidecar_of(tmp_path / "look.jpg").write_bytes(encode_passport(passport))
    for name in files:
        assert read_passport(tmp_path / name) == passport
    assert read_source(tmp_path / "look.jpg", max_pixels=LIMIT).passport == passport
    assert sidecar_of(Path("a/look.jpg")) == Path("a/look.jpg.refacer.json")


def test_the_passport_inside_goes_before_the_sidecar(tmp_path, picture, passport):
    path = tmp_path / "face.png"
    path.write_bytes(encode_png(picture(), passport))
    other = replace(passport, source=replace(passport.source, width=3))
    sidecar_of(path).write_bytes(encode_passport(other))
    assert read_source(path, max_pixels=LIMIT).passport == read_passport(path) == passport
    path.write_bytes(encode_png(picture(), None))
    assert read_source(path, max_pixels=LIMIT).passport == read_passport(path) == other


def test_no_passport_is_a_mismatch(tmp_path, picture):
    for name, data in {
        "a.png": encode_png(picture(), None),
        "a.npy": encode_codes(np.zeros((1, 2, 3), np.float32), None),
        "a.jpg": encode_display(picture(), Source(picture()), "JPEG", None),
        "a.txt": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PassportMismatch, match=f"{name}: carries no passport"):
            read_passport(tmp_path / name)
    with pytest.raises(UsageError):
        read_passport(tmp_path / "none")


@pytest.mark.parametrize(
    "text", [b"{}", b"{" * 10**5, b"{\xff", b'{"version": 1}', b'{"version": "a\\nb"}', b'{"version": 2}']
)
def test_a_broken_sidecar_is_refused_by_its_name(tmp_path, picture, text):
    path = tmp_path / "look.jpg"
    path.write_bytes(encode_display(picture(), Source(picture()), "JPEG", None))
    sidecar_of(path).write_bytes(text)
    for read in (read_passport, lambda path: read_source(path, max_pixels=LIMIT)):
        with pytest.raises(InputRefused) as caught:
            read(path)
        assert str(caught.value).startswith(f"{sidecar_of(path)}: ")
        assert "\n" not in str(caught.value)


def changed(passport, **values):
    """The passport's JSON with values put in by dotted names, as in faces.0.quad."""
    body = json.loads(passport.to_json())
    for name, value in values.items():
        *outer, last = name.split("__")
        inner = body
        for key in outer:
            inner = inner[int(key) if key.isdigit() else key]
        inner[last] = value
    return json.dumps(body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", None),
        ("source__width", 0),
        ("source__height", float("inf")),
        ("faces", 7),
        ("faces__0__landmarks", [[0, 0]]),
        ("faces__0__landmarks", [[0, 10**400]] * 68),
        ("faces__0__quad", [[0, 0]] * 4),
        ("faces__0__quad", [[0, 0], [0, float("nan")], [1, 1], [1, 0]]),
        ("faces__0__quad", [[0, 0], [0, 1e300], [1e300, 1e300], [1e300, 0]]),
        ("faces__0__quad", [[0, 0], [0, 1], [1, 1]]),
        ("faces__0__crop_size", 0),
        ("faces__0__crop_size", -5),
        ("faces__0__stages", [{}]),
        ("faces__0__stages", [{"stage": "a", "parameters": 1, "models": {}, "seed": None}]),
        ("faces__0__stages", "ab"),
    ],
)
def test_a_senseless_passport_is_refused(passport, name, value):
    with pytest.raises(InputRefused, match="not a refacer passport"):
        Passport.from_json(changed(passport, **{name: value}))


def test_64_kib_a_face_are_the_limit(passport):
    stage = {"stage": "a", "parameters": {"x": "y" * 64 * 1024}, "models": {}, "seed": None}
    with pytest.raises(InputRefused, match="64 KiB"):
        Passport.from_json(changed(passport, faces__0__stages=[stage]))


def spliced(png, kind, body):
    packed = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + packed + png[33:]


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_other_tools_may_have_packed_the_text_anew(picture, passport, kind):
    text = passport.to_json().encode()
    bodies = {
        "tEXt": b"refacer\0" + text,
        "zTXt": b"refacer\0\0" + zlib.compress(text),
        "iTXt": b"refacer\0\1\0en\0passport\0" + zlib.compress(text),
    }
    data = spliced(encode_png(picture(), None), kind.encode(), bodies[kind])
    assert read_source(data, max_pixels=LIMIT).passport == passport


@pytest.mark.parametrize(
    "body",
    [
        b"refacer\0\1\0\0\0no zlib",
        b"refacer\0\0\0\0\0" + b"x" * (4 * 1024**2 + 1),
        b"refacer\0",
        b"refacer\0\0\0\0\0{}",
    ],
)
def test_a_hostile_text_is_refused(picture, body):
    with pytest.raises(InputRefused, match=r"^stdin: "):
        read_source(spliced(encode_png(picture(), None), b"iTXt", body), max_pixels=LIMIT)


def test_a_compressed_text_is_not_unpacked_beyond_its_limit(picture):
    data = spliced(encode_png(picture(), None), b"iTXt", b"refacer\0\1\0\0\0" + zlib.compress(bytes(10**8)))
    tracemalloc.start()
    try:
        with pytest.raises(InputRefused, match="too large"):
            read_source(data, max_pixels=LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 2 * 10**7
    finally:
        tracemalloc.stop()


def test_foreign_text_is_no_concern_of_ours(picture):
    bomb = b"Comment\0\1\0\0\0" + zlib.compress(bytes(2 * 10**7))
    data = spliced(
        spliced(encode_png(picture(), None), b"iTXt", bomb), b"iCCP", b"icc\0\0" + zlib.compress(bytes(2 * 10**7))
    )
    source = read_source(data, max_pixels=LIMIT)
    assert source.passport is source.icc is None
    assert np.array_equal(source.native, picture())


def test_a_png_that_needs_an_extension_is_refused(picture):
    with pytest.raises(InputRefused, match="extension"):
        read_source(spliced(encode_png(picture(), None), b"CgBI", b"\0\0\0\0"), max_pixels=LIMIT)
