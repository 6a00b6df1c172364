from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from refacer.images.pixels import paste_blend, rgb16_from_tensor, rgb_from_tensor, snap, tensor_from_rgb


@pytest.mark.parametrize(("dtype", "back"), [(np.uint8, rgb_from_tensor), (np.uint16, rgb16_from_tensor)])
def test_every_level_survives_the_round_trip(dtype, back):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1, 1).repeat(3, axis=2)
    assert np.array_equal(back(tensor_from_rgb(levels)), levels)


def test_snap_gives_what_a_file_would():
    image = torch.linspace(-1.2, 1.2, 3 * 8 * 8).view(1, 3, 8, 8)
    assert torch.equal(snap(image), tensor_from_rgb(rgb_from_tensor(image)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_pasted_without_colours(dtype):
    native: NDArray[Any] = np.zeros((6, 6, 4), dtype)
    red, alpha = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4), torch.ones(1, 1, 4, 4)
    paste_blend(native, 1, 1, red, alpha, grey=True)
    assert (native[1:5, 1:5, :3] == round(0.299 * np.iinfo(dtype).max)).all()
    assert not native[0].any()
    assert not native[..., 3].any()


def test_pixels_are_contiguous():
    """dlib reads freed memory for an array of any other layout, and then misses faces at random."""
    assert rgb_from_tensor(torch.zeros(1, 3, 4, 5)).flags["C_CONTIGUOUS"]
    assert rgb_from_tensor(torch.zeros(1, 3, 4, 5).to(memory_format=torch.channels_last)).flags["C_CONTIGUOUS"]
