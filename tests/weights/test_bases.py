"""A network of twice the resolution starts as the smaller one."""

import torch

from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig
from refacer.networks.stylegan2.ops import downsample2d, setup_filter
from refacer.weights.bases import grow_discriminator


def discriminator(side: int, channel_base: int = 256) -> Discriminator:
    torch.manual_seed(side)
    return Discriminator(DiscriminatorConfig(img_resolution=side, channel_base=channel_base, channel_max=16))


def test_a_grown_discriminator_gives_the_old_verdict_on_the_halved_picture() -> None:
    old, new = discriminator(16), discriminator(32)
    torch.nn.init.normal_(old.get_parameter("b16.fromrgb.bias"))
    random = new(torch.zeros(1, 3, 32, 32))
    grow_discriminator(old.state_dict(), new)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    verdicts = old(downsample2d(images, setup_filter()))
    assert verdicts.std() > 1e-3
    assert torch.allclose(new(images), verdicts, atol=1e-4)
    assert not torch.allclose(random, verdicts[:1], atol=1e-3)


def test_every_new_weight_can_learn() -> None:
    old, new = discriminator(16), discriminator(32)
    grow_discriminator(old.state_dict(), new)
    new(torch.rand(2, 3, 32, 32)).sum().backward()
    for name in ("conv1.weight", "skip.weight", "conv0.weight", "fromrgb.weight"):
        gradient = new.get_parameter(f"b32.{name}").grad
        assert gradient is not None
        assert gradient.abs().sum() > 0, name


def test_with_too_few_channels_the_new_block_stays_random() -> None:
    old, new = discriminator(16, 64), discriminator(32, 64)
    before = new.state_dict()["b32.conv1.weight"].clone()
    grow_discriminator(old.state_dict(), new)
    assert torch.equal(new.state_dict()["b32.conv1.weight"], before)
