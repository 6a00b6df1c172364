from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from refacer.errors import InputRefused, UsageError
from refacer.networks.perceptual import (
    DiscriminatorFeatures,
    LpipsVgg,
    WithParts,
    distance,
    lpips_linear_weights,
    parts,
    shrink,
)
from refacer.networks.stylegan2.networks import Discriminator
from tests.tiny import tiny_discriminator


@pytest.fixture(scope="module")
def trunk() -> torch.nn.Module:
    """VGG16 with random weights, as torchvision builds it."""
    from torchvision.models import vgg

    torch.manual_seed(0)
    return vgg.make_layers(vgg.cfgs["D"])


@pytest.fixture(scope="module")
def state(trunk: torch.nn.Module) -> dict[str, Tensor]:
    return {f"features.{key}": value for key, value in trunk.state_dict().items()}


@pytest.fixture
def discriminator() -> Discriminator:
    return tiny_discriminator(seed=1)


def two_pictures(side: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    first = torch.rand(3, 3, side, side) * 2 - 1
    return first, (first + 0.3 * torch.randn_like(first)).clamp(-1, 1)


def test_lpips_equals_the_lpips_package(
    trunk: torch.nn.Module, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    import lpips
    from lpips import pretrained_networks

    monkeypatch.setattr(pretrained_networks.tv, "vgg16", lambda pretrained: SimpleNamespace(features=trunk))
    published = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    a, b = two_pictures(48)
    ours = LpipsVgg(state)
    with torch.no_grad():
        expected = published(a, b).flatten()
        torch.testing.assert_close(distance(ours.features(a), ours.features(b)), expected, rtol=1e-5, atol=0)


def test_lpips_says_nothing_and_trains_nothing(state: dict[str, Tensor], capsys: pytest.CaptureFixture[str]) -> None:
    network = LpipsVgg({**state, "classifier.0.weight": torch.zeros(1)})
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_lpips_passes_gradients_to_the_pictures(state: dict[str, Tensor]) -> None:
    a, b = two_pictures(32)
    network = LpipsVgg(state)
    a.requires_grad_()
    distance(network.features(a), network.features(b)).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0


def test_lpips_survives_a_flat_picture(state: dict[str, Tensor]) -> None:
    """Where every channel is 0 the norm has no slope; the gradient must not become a NaN."""
    dead = {key: value * 0 for key, value in state.items()}
    picture = torch.zeros(1, 3, 32, 32, requires_grad=True)
    LpipsVgg(dead).features(picture).sum().backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()


def test_lpips_shrinks_what_is_larger(state: dict[str, Tensor]) -> None:
    network = LpipsVgg(state, input_px=32)
    large, _ = two_pictures(64)
    torch.testing.assert_close(network.features(large), network.features(shrink(large, 32)))


@pytest.mark.parametrize("change", ["missing", "misshapen"])
def test_lpips_refuses_another_network(state: dict[str, Tensor], change: str) -> None:
    broken = dict(state)
    if change == "missing":
        del broken["features.28.bias"]
    else:
        broken["features.28.bias"] = torch.zeros(3)
    with pytest.raises(InputRefused, match=rf"features\.28\.bias is {change}"):
        LpipsVgg(broken)


def test_linear_weights_are_lpips_v01() -> None:
    weights = lpips_linear_weights()
    assert [len(weight) for weight in weights] == [64, 128, 256, 512, 512]
    assert all((weight >= 0).all() for weight in weights)


@pytest.mark.parametrize(("side", "wanted"), [(64, 32), (48, 32), (32, 32), (20, 20)])
def test_shrink_keeps_the_mean_and_never_enlarges(side: int, wanted: int) -> None:
    pictures, _ = two_pictures(side)
    small = shrink(pictures, 32)
    assert small.shape[-2:] == (wanted, wanted)
    if side % wanted == 0:
        torch.testing.assert_close(small.mean((2, 3)), pictures.mean((2, 3)))


def test_discriminator_distance_by_hand(discriminator: Discriminator) -> None:
    a, b = two_pictures(16)
    network = DiscriminatorFeatures(discriminator)
    found = distance(network.features(a), network.features(b))
    expected = torch.zeros(3)
    outputs = list(zip(discriminator.features(a), discriminator.features(b), strict=True))
    for x, y in outputs:
        apart = torch.nn.functional.normalize(x, dim=1) - torch.nn.functional.normalize(y, dim=1)
        expected += apart.square().sum(1).mean((1, 2)) / len(outputs)
    torch.testing.assert_close(found, expected)
    assert (found > 0).all()


def test_discriminator_blocks_can_be_chosen_and_weighted(discriminator: Discriminator) -> None:
    a, b = two_pictures(16)

    def apart(**choice: list[float] | list[int]) -> Tensor:
        network = DiscriminatorFeatures(discriminator, **choice)  # pyright: ignore[reportArgumentType]
        return distance(network.features(a), network.features(b))

    fine, coarse = apart(blocks=[0]), apart(blocks=[1])
    torch.testing.assert_close(apart(), (fine + coarse) / 2)
    torch.testing.assert_close(apart(blocks=[0, 1], weights=[3.0, 0.0]), 3 * fine)
    torch.testing.assert_close(apart(weights=[0.0, 2.0]), 2 * coarse)


@pytest.mark.parametrize("side", [8, 32])
def test_discriminator_takes_pictures_of_another_size(discriminator: Discriminator, side: int) -> None:
    network = DiscriminatorFeatures(discriminator)
    flat = torch.linspace(-1, 1, 3).view(1, 3, 1, 1)
    torch.testing.assert_close(
        network.features(flat.expand(1, 3, side, side)), network.features(flat.expand(1, 3, 16, 16))
    )


def test_discriminator_wants_one_weight_a_block(discriminator: Discriminator) -> None:
    with pytest.raises(UsageError, match="2 discriminator blocks"):
        DiscriminatorFeatures(discriminator, blocks=[0, 1], weights=[1.0])


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
