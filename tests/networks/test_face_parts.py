"""Eyes and mouth once more: where they are cut, and what the distance weighs."""

import pytest
import torch
from torch import Tensor

from refacer.networks.face_parts import WithParts, parts
from refacer.networks.perceptual import distance


class Pixels:
    """A perceptual network whose distance is the mean square over pixels."""

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1) / images[0].numel() ** 0.5


@pytest.mark.parametrize(("x", "y", "part"), [(0.40, 0.47, 0), (0.60, 0.47, 1), (0.50, 0.73, 2)])
def test_eyes_and_mouth_lie_amid_their_squares(x, y, part):
    images = torch.zeros(2, 3, 64, 64)
    images[1, :, round(y * 64), round(x * 64)] = 1
    found = parts(images).unflatten(0, (3, 2))
    assert found.shape == (3, 2, 3, 16, 16)
    assert found[part, 1, 0, 8, 8] == 1
    assert found[:, 0].abs().sum() == 0


@pytest.mark.parametrize("side_px", [4, 16, 32])
def test_the_distance_is_the_face_s_and_its_parts_in_their_shares(side_px):
    network = WithParts(Pixels(), side_px=side_px, weight=0.3)
    black, white = torch.full((2, 3, 64, 64), -1.0), torch.ones(2, 3, 64, 64)
    far = distance(network.features(black), network.features(white))
    torch.testing.assert_close(far, torch.full((2,), 4.0))
    eye = black.clone()
    eye[1, :, 22:38, 18:34] = 1  # the left eye's square, a sixteenth of the picture; it reaches into the right one's
    inside = (parts(eye).unflatten(0, (3, 2))[:, 1] > 0).float().mean((1, 2, 3))
    assert inside[0] == 1
    whole = torch.tensor(4 / 16)
    expected = 0.7 * whole + 0.3 / 3 * 4 * inside.sum()
    seen = distance(network.features(black), network.features(eye))
    assert seen[0] == 0
    torch.testing.assert_close(seen[1], expected, atol=1e-5 if side_px == 16 else 0.05, rtol=0)


def test_pictures_do_not_see_each_other():
    network, images = WithParts(Pixels(), side_px=8, weight=0.5), torch.randn(3, 3, 32, 32)
    together = network.features(images)
    assert torch.equal(together, torch.cat([network.features(image[None]) for image in images]))
