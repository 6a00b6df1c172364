"""A canvas reads and takes pixels as the tensor of its whole picture does, bit for bit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refacer.images import canvas as canvas_module
from refacer.images.canvas import Canvas, shrunk
from refacer.images.pixels import tensor_from_rgb


@pytest.fixture(params=[np.uint8, np.uint16])
def stored(request):
    return np.random.default_rng(0).integers(
        0, np.iinfo(request.param).max, (61, 83, 3), dtype=request.param, endpoint=True
    )


def test_windows_are_those_of_the_whole_tensor(stored):
    whole, canvas = tensor_from_rgb(stored), Canvas(stored)
    assert canvas.shape == whole.shape
    for rows, columns in ((slice(3, 20), slice(50, 83)), (slice(None), slice(None)), (slice(40, 99), slice(0, 1))):
        assert torch.equal(canvas[:, :, rows, columns], whole[:, :, rows, columns])
    canvas[:, :, 3:20, 3:20][:] = 0.5
    assert torch.equal(canvas[:, :, :, :], whole), "a window is memory of its own"


def test_what_is_written_is_read_again_in_order_and_not_rounded(stored):
    given = stored.copy()
    whole, canvas = tensor_from_rgb(stored), Canvas(stored)
    other = canvas.clone()
    for top, left, height, width in ((5, 7, 20, 30), (15, 0, 30, 20), (60, 80, 1, 3)):
        pixels = torch.rand(1, 3, height, width)
        for picture in (whole, canvas):
            picture[:, :, top : top + height, left : left + width] = pixels
    for rows, columns in ((slice(None), slice(None)), (slice(10, 30), slice(5, 25)), (slice(50, 55), slice(60, 70))):
        assert torch.equal(canvas[:, :, rows, columns], whole[:, :, rows, columns])
    assert torch.equal(other[:, :, :, :], tensor_from_rgb(given)), "a clone is written into alone"
    assert np.array_equal(stored, given)


@pytest.mark.parametrize("longer_px", [20, 63, 82, 83, 100])
def test_shrinking_in_bands_gives_the_bits_of_one_call(stored, longer_px, monkeypatch):
    monkeypatch.setattr(canvas_module, "BAND_PIXELS", 7 * 83)
    whole = tensor_from_rgb(stored)
    small, scale = shrunk(Canvas(stored), longer_px)
    assert scale == min(1.0, longer_px / 83)
    size = (round(61 * scale), round(83 * scale))
    wanted = whole if scale == 1 else F.interpolate(whole, size, mode="bilinear", antialias=True)
    assert torch.equal(small, wanted)
