import os
import pickle
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from refacer.errors import InputRefused, ShapeMismatch, UsageError
from refacer.files import encode_codes, read_codes, streams
from refacer.files.codes import StoredCodes
from refacer.files.streams import open_seekable, spooled_pipe


@pytest.fixture
def codes(rng):
    return rng.normal(size=(2, 6, 8)).astype(np.float32)


def stored(array, **options):
    buffer = BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def header(text, version=b"\1\0"):
    """A .npy header of any text."""
    padded = text.encode().ljust(117) + b"\n"
    size = len(padded).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + size + padded


def claim(descr="'<f4'", shape="(1, 2, 3)", order="False"):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")


def test_codes_and_passport_round_trip(tmp_path, codes, passport):
    path = tmp_path / "codes.npy"
    path.write_bytes(encode_codes(codes, passport))
    again, found = read_codes(path)
    assert again.dtype == np.float32
    assert again.flags.c_contiguous
    assert again.flags.writeable
    assert np.array_equal(again, codes)
    assert found == passport
    assert np.array_equal(np.load(path, allow_pickle=False), codes)


def test_the_passport_may_be_absent(codes):
    again, passport = read_codes(encode_codes(codes, None))
    assert np.array_equal(again, codes)
    assert passport is None
    assert encode_codes(codes, None) == stored(codes)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_floats_and_orders(codes, dtype, order):
    given = np.asarray(codes.astype(dtype), order=order)
    again, _ = read_codes(stored(given))
    assert again.dtype == np.float32
    assert np.array_equal(again, given.astype(np.float32))


def test_one_code_gets_a_leading_axis(codes):
    assert np.array_equal(read_codes(stored(codes[0]))[0], codes[:1])


def test_longer_headers_of_version_2(codes):
    body = header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 6, 8), }", b"\2\0") + codes.tobytes()
    assert np.array_equal(read_codes(body)[0], codes)


@pytest.mark.parametrize("shape", [(), (1, 2, 3, 4), (0, 6, 8), (0,)])
def test_other_axes_do_not_fit(shape):
    with pytest.raises(ShapeMismatch, match="stdin: codes are"):
        read_codes(stored(np.zeros(shape, np.float32)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_values_that_are_not_finite_are_refused_before_the_shape(value):
    for shape in ((1, 2, 3), (7,)):
        with pytest.raises(InputRefused, match="not finite"):
            read_codes(stored(np.full(shape, value)))


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    data = stored(np.array([Trap()], dtype=object), allow_pickle=True)
    for given, reason in ((data, "Python objects"), (pickle.dumps(Trap()), "not a .npy")):
        with pytest.raises(InputRefused, match=reason):
            read_codes(given)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\3\4 an npz",
        claim(),  # no values
        claim(shape="(1000000, 1000000, 250000)"),
        claim(shape="(9223372036854775807, 9223372036854775807)") + bytes(64),
        claim(shape="(-1, -2, 3)") + bytes(64),
        claim(shape="3") + bytes(64),
        claim(shape="(True, 2)") + b"",
        claim(descr="'<i4'") + bytes(24),
        claim(descr="'<c8'") + bytes(48),
        claim(descr="'|O'") + bytes(48),
        claim(descr="[('a', '<f4')]") + bytes(24),
        claim(descr="('<f4', (2,))") + bytes(48),
        claim(descr="'<U9'") + bytes(999),
        header("{'descr': '\\d<f4', 'shape': (1if 2else 3,)}"),
        header("__import__('os').getcwd()"),
        header("(" * 100),
        b"\x93NUMPY\3\0" + claim()[8:],
        b"\x93NUMPY\2\0\xff\xff\xff\xff",
    ],
)
def test_hostile_headers_are_refused(data):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(InputRefused, match=r"^stdin: "):
            read_codes(data)
    assert not heard


@pytest.mark.parametrize("rest", [b"x", stored(np.zeros(3)), stored(np.zeros(3, np.uint8)), stored(np.zeros(3, "<u2"))])
def test_what_follows_the_codes_is_a_passport_or_refused(codes, rest):
    with pytest.raises(InputRefused):
        read_codes(stored(codes) + rest)


def test_nothing_may_follow_the_passport(codes, passport):
    with pytest.raises(InputRefused, match="no passport"):
        read_codes(encode_codes(codes, passport) + b"x")


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_codes(tmp_path / "none.npy")


def test_codes_as_other_programs_save_them(tmp_path):
    code = np.random.default_rng(0).standard_normal((1, 6, 8)).astype(np.float32)
    ways: list[dict[str, Any]] = [{"w": code}, {"ws": code, "loss": np.zeros(3)}, {"only": code}]
    for kept in ways:
        np.savez(tmp_path / "c.npz", **kept)
        assert np.array_equal(read_codes(tmp_path / "c.npz")[0], code)
    np.save(tmp_path / "w.npy", code[0, 0])
    assert np.array_equal(read_codes(tmp_path / "w.npy")[0], code[:, :1])
    assert read_codes(encode_codes(code[0], None))[0].shape == (1, 6, 8)


@pytest.mark.parametrize("kept", [{"a": np.zeros((1, 2, 3)), "b": np.zeros((1, 2, 3))}, {}, {"w": np.array([{}])}])
def test_a_npz_that_does_not_say_what_is_a_code(tmp_path, kept):
    np.savez(tmp_path / "c.npz", **kept)
    with pytest.raises(InputRefused, match=r"c\.npz"):
        read_codes(tmp_path / "c.npz")


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_are_those_of_the_whole(tmp_path, codes, passport, dtype, order):
    np.save(tmp_path / "c.npy", np.asarray(codes.astype(dtype), order=order))
    with (tmp_path / "c.npy").open("ab") as file:
        file.write(encode_codes(codes, passport)[len(encode_codes(codes, None)) :])
    found = StoredCodes(open_seekable(tmp_path / "c.npy"), "c.npy")
    assert (len(found), found.passport) == (len(codes), passport)
    for first, count in ((0, 2), (1, 1), (0, 1)):
        assert np.array_equal(found.part(first, count), codes[first : first + count])


def test_a_file_that_shrinks_meanwhile_is_refused(tmp_path):
    np.save(tmp_path / "c.npy", np.zeros((400, 60, 80), np.float32))
    found = StoredCodes(open_seekable(tmp_path / "c.npy"), "c.npy")
    os.truncate(tmp_path / "c.npy", 5_000_000)
    assert found.part(0, 1).shape == (1, 60, 80)
    with pytest.raises(InputRefused, match=r"c\.npy: has become shorter"):
        found.part(399, 1)


def test_a_long_pipe_goes_by_way_of_the_disk(monkeypatch):
    monkeypatch.setattr(streams, "SPOOLED_BYTES", 100)
    with spooled_pipe(BytesIO(bytes(range(200)))) as kept:
        assert kept.read() == bytes(range(200))
        assert kept.seek(150) == 150
        assert kept.read(2) == bytes([150, 151])
        assert vars(kept)["_rolled"]
    monkeypatch.setattr(streams, "MAX_FILE_BYTES", 150)
    with pytest.raises(InputRefused, match="stdin: more than"):
        spooled_pipe(BytesIO(bytes(200)))


def test_a_damaged_npz(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", w=np.arange(600, dtype=np.float32).reshape(1, 60, 10))
    whole = (tmp_path / "c.npz").read_bytes()
    for data in (whole[:-30], whole[:60], whole[:80] + b"x" * 20 + whole[100:]):
        with pytest.raises(InputRefused):
            read_codes(data)
