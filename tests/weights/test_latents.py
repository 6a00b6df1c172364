"""Codes as other programs save them with PyTorch."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from refacer.errors import InputRefused, ShapeMismatch
from refacer.weights.formats.latents import read_latents

CODE = torch.arange(18 * 8).reshape(18, 8) / 7


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def stored(request, tmp_path):
    """A function: content -> the file that torch.save writes, in its new and in its old format."""

    def write(content) -> Path:
        torch.save(content, tmp_path / "codes.pt", _use_new_zipfile_serialization=request.param)
        return tmp_path / "codes.pt"

    return write


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (CODE, CODE[None]),
        (CODE[None].double(), CODE[None]),
        (CODE.half(), CODE.half().float()[None]),
        (torch.stack([CODE, -CODE]), torch.stack([CODE, -CODE])),
        (CODE[0], CODE[None, :1]),
        ([CODE, -CODE], torch.stack([CODE, -CODE])),
        ((CODE[None], -CODE[None]), torch.stack([CODE, -CODE])),
        ([CODE[0], CODE[1], CODE[2]], CODE[:3, None]),
        ({"latent": CODE, "noise": [CODE]}, CODE[None]),
        ({"w": CODE, "img": CODE, "latent": -CODE}, CODE[None]),
        ({"anything": CODE}, CODE[None]),
        ({"a.png": {"latent": CODE, "img": CODE}, "b.png": {"latent": -CODE, "img": CODE}}, torch.stack([CODE, -CODE])),
        ({"latents": [CODE, -CODE]}, torch.stack([CODE, -CODE])),
    ],
)
def test_what_is_unambiguous_is_read(stored, content, wanted):
    path = stored(content)
    for given in (path, str(path), path.read_bytes()):
        assert np.array_equal(read_latents(given).values, wanted.numpy())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"img": CODE, "noise": CODE}, "img, noise, none of them called w"),
        ({}, "none of them called w"),
        ([], "with 0 codes"),
        ([CODE, CODE[:, :4]], "several shapes"),
        ([CODE, CODE[0]], "several shapes"),
        (torch.arange(5), "no floating point numbers"),
        ("text", "holds no codes but a str"),
        (torch.full((18, 8), torch.nan), "not finite"),
    ],
)
def test_the_rest_is_told_in_a_line_that_says_how_to_convert_it(stored, content, told):
    with pytest.raises(InputRefused, match=told) as caught:
        read_latents(stored(content))
    assert str(caught.value).startswith(str(stored(content)))
    assert told == "not finite" or "numpy.save" in str(caught.value)


def test_a_wrong_number_of_axes_is_no_code(stored):
    with pytest.raises((InputRefused, ShapeMismatch)):
        read_latents(stored(CODE.reshape(1, 1, 18, 8)))


def test_nothing_in_it_is_run(tmp_path):
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Path))
    with pytest.raises(InputRefused):
        read_latents(tmp_path / "a.pt")


def test_arrays_and_npy_as_ever(tmp_path):
    np.save(tmp_path / "a.npy", CODE.numpy())
    np.savez(tmp_path / "a.npz", w=CODE[None].numpy())
    for given in (tmp_path / "a.npy", tmp_path / "a.npz", CODE[None].numpy(), read_latents(CODE[None].numpy())):
        assert np.array_equal(read_latents(given).values, CODE[None].numpy())
