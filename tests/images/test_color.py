import pytest
import torch

from refacer.images.color import image_from_lab, lab_from_image


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_published_colours(rgb: tuple[int, ...], lab: tuple[float, ...]):
    image = torch.tensor(rgb).float()[None, :, None, None] / 127.5 - 1
    assert lab_from_image(image).flatten().tolist() == pytest.approx(lab, abs=0.05)


def test_round_trip():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(image_from_lab(lab_from_image(image)), image, atol=2e-4)


def test_colours_outside_srgb_are_clipped():
    assert image_from_lab(torch.tensor([100.0, 90.0, 90.0])[None, :, None, None]).abs().max() <= 1
