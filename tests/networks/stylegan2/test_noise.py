import pytest
import torch
from torch import Tensor

from refacer.networks.stylegan2.noise import NoiseMaps, draw
from tests.tiny import tiny_generator


@pytest.fixture
def maps() -> NoiseMaps:
    generator = tiny_generator(img_resolution=32)
    sources = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    return NoiseMaps(generator, sources, torch.device("cpu"))


def published_loss(noise: Tensor) -> Tensor:
    """The regulariser as the published projector describes it, for one map (r, r)."""
    total = torch.zeros(())
    while True:
        total = total + (noise * noise.roll(1, 1)).mean() ** 2 + (noise * noise.roll(1, 0)).mean() ** 2
        if len(noise) <= 8:
            return total
        noise = torch.nn.functional.avg_pool2d(noise[None], 2)[0]


def test_every_face_has_a_map_for_every_layer(maps: NoiseMaps) -> None:
    named = maps.named()
    assert set(named) == {"b4.conv1.noise_const"} | {
        f"b{side}.conv{i}.noise_const" for side in (8, 16, 32) for i in (0, 1)
    }
    assert named["b32.conv0.noise_const"].shape == (2, 1, 32, 32)
    assert not torch.equal(named["b8.conv0.noise_const"][0], named["b8.conv0.noise_const"][1])


def test_loss_is_the_published_one(maps: NoiseMaps) -> None:
    expected = torch.zeros(2)
    for noise in maps.named().values():
        expected = expected + torch.stack([published_loss(noise[face, 0]) for face in (0, 1)])
    torch.testing.assert_close(maps.loss(), expected)


def test_loss_sees_a_pattern(maps: NoiseMaps) -> None:
    white = maps.loss().detach()
    with torch.no_grad():
        stripes = torch.ones(32, 32)
        stripes[::2] = -1
        maps.maps[32][0, 0] = stripes
    assert maps.loss()[0] > white[0] + 1
    torch.testing.assert_close(maps.loss()[1], white[1])


def test_normalised_maps_have_mean_0_and_rms_1(maps: NoiseMaps) -> None:
    with torch.no_grad():
        for noise in maps.maps.values():
            noise.mul_(3).add_(1)
    maps.normalise()
    for noise in maps.named().values():
        torch.testing.assert_close(noise.mean((2, 3)), torch.zeros(2, 1), atol=1e-6, rtol=0)
        torch.testing.assert_close(noise.square().mean((2, 3)), torch.ones(2, 1))
    assert all(noise.requires_grad and noise.is_leaf for noise in maps.maps.values())


def test_a_draw_belongs_to_its_face() -> None:
    def source() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    alone = draw([source()], (3, 4), torch.device("cpu"))
    batch = draw([torch.Generator().manual_seed(6), source()], (3, 4), torch.device("cpu"))
    assert torch.equal(batch[1], alone[0])
