"""EfficientNet-Lite0 as a perceptual network, on its published weights."""

import pytest
import torch

from refacer.errors import InputRefused
from refacer.networks.efficientnet import EfficientNetFeatures
from refacer.networks.perceptual import distance
from refacer.weights.packages import verified_path
from refacer.weights.published import load_efficientnet

STATE = torch.load(verified_path("efficientnet-lite0"), map_location="cpu", weights_only=True)


def published_blocks(images: torch.Tensor) -> list[torch.Tensor]:
    """The published network written out with batch normalisation unfolded and its zeros padded by hand."""
    f = torch.nn.functional

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int, groups: int, activate: bool) -> torch.Tensor:
        weight = STATE[f"{conv}.weight"]
        total = max(weight.shape[-1] - stride, 0)
        x = f.pad(x, (total // 2, total - total // 2) * 2)
        x = f.conv2d(x, weight, stride=stride, groups=groups)
        mean, var = STATE[f"{norm}.running_mean"], STATE[f"{norm}.running_var"]
        x = f.batch_norm(x, mean, var, STATE[f"{norm}.weight"], STATE[f"{norm}.bias"], eps=1e-3)
        return f.relu6(x) if activate else x

    x = layer(images, "_conv_stem", "_bn0", 2, 1, True)
    outputs = []
    for index in range(11):
        name, y = f"_blocks.{index}", x
        stride = 2 if index in (1, 3, 5) else 1
        if index:
            y = layer(y, f"{name}._expand_conv", f"{name}._bn0", 1, 1, True)
        y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, y.shape[1], True)
        y = layer(y, f"{name}._project_conv", f"{name}._bn2", 1, 1, False)
        x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
        outputs.append(x)
    return [outputs[i] for i in (0, 2, 4, 10)]


def test_folded_network_is_the_published_one() -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    taps = load_efficientnet(torch.device("cpu")).taps(images)
    assert [tuple(tap.shape[1:]) for tap in taps] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4)]
    for tap, wanted in zip(taps, published_blocks(images), strict=True):
        assert torch.allclose(tap, wanted, atol=1e-3, rtol=1e-4)


def test_distance_grows_with_the_difference() -> None:
    network = load_efficientnet(torch.device("cpu"), 64)
    face = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.randn(face.shape, generator=torch.Generator().manual_seed(1))
    apart = [
        float(distance(network.features(face + amount * noise), network.features(face))) for amount in (0, 0.05, 0.2)
    ]
    assert apart[0] == 0
    assert apart[0] < apart[1] < apart[2]


def test_larger_pictures_are_shrunk() -> None:
    network = load_efficientnet(torch.device("cpu"), 64)
    face = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    twice = face.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(network.features(twice), network.features(face), atol=1e-5)


def test_another_networks_state_is_refused() -> None:
    with pytest.raises(InputRefused, match="not EfficientNet-Lite0"):
        EfficientNetFeatures({"features.0.weight": torch.zeros(1)})
