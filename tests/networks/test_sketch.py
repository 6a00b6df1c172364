import pytest
import torch
from torch import Tensor

from refacer.networks.sketch import DeepFaceSketch, LineExtractor, gaussian_blur


def white(value: float = 1.0, side: int = 64) -> Tensor:
    return torch.full((1, 3, side, side), value)


def with_line(side: int) -> Tensor:
    """A dark vertical stroke, a 32nd of the picture wide, on grey."""
    picture = white(0.2, side)
    picture[..., side // 2 - side // 64 : side // 2 + side // 64] = -0.6
    return picture


def test_a_stroke_becomes_a_dark_line_on_white() -> None:
    sketch = LineExtractor()(with_line(128))
    assert sketch.shape == (1, 1, 128, 128)
    assert (sketch[..., 64] < -0.8).all()
    assert (sketch[..., :50] > 0.95).all()
    assert (sketch[..., 78:] > 0.95).all()


@pytest.mark.parametrize("side", [64, 256])
def test_lengths_follow_the_size_of_the_picture(side: int) -> None:
    ink = (1 - LineExtractor()(with_line(side))).mean() / 2
    reference = (1 - LineExtractor()(with_line(128))).mean() / 2
    assert abs(ink / reference - 1) < 0.1


def test_flat_shading_and_grain_leave_no_line() -> None:
    torch.manual_seed(0)
    slope = torch.linspace(-0.6, 0.8, 128).expand(1, 3, 128, 128)
    grain = white(0.1, 128) + 0.04 * torch.randn(1, 3, 128, 128)
    extractor = LineExtractor()
    assert extractor(slope)[..., 8:-8].min() > 0.9
    assert extractor(grain).mean() > 0.95


def test_a_line_does_not_depend_on_the_lamp() -> None:
    bright = with_line(128)
    dim = (bright + 1) * 0.6 - 1
    extractor = LineExtractor()
    assert (extractor(bright) - extractor(dim)).abs().mean() < 0.05


def test_every_pixel_that_makes_a_line_has_a_gradient() -> None:
    picture = with_line(64).requires_grad_()
    LineExtractor()(picture).sum().backward()
    assert picture.grad is not None
    assert picture.grad.isfinite().all()
    flat = white(0.2).requires_grad_()
    sketch = LineExtractor()(flat)
    (sketch - LineExtractor()(with_line(64)).detach()).abs().sum().backward()
    assert flat.grad is not None
    assert flat.grad[..., 32].mean() > 0  # darker there means closer to the wanted line


def test_blur_keeps_a_constant_up_to_the_border_and_the_mean_inside() -> None:
    torch.testing.assert_close(gaussian_blur(white(0.7), 2.0), white(0.7))
    spot = torch.zeros(1, 1, 33, 33)
    spot[..., 16, 16] = 1
    blurred = gaussian_blur(spot, 2.0)
    torch.testing.assert_close(blurred.sum(), torch.tensor(1.0))
    variance = (blurred[0, 0].sum(0) * (torch.arange(33) - 16).square()).sum()
    assert abs(variance.sqrt() - 2.0) < 0.05


def test_published_network_has_the_published_shapes() -> None:
    with torch.device("meta"):
        network = DeepFaceSketch()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 45_642_243
    assert shapes["model.1.weight"] == (32, 3, 7, 7)
    assert shapes["model.2.bias"] == (32,)
    assert shapes["model.13.weight"] == (512, 256, 3, 3)
    assert shapes["model.24.conv_block.1.conv.weight"] == (512, 512, 3, 3)
    assert shapes["model.16.conv_block.0.norm.weight"] == (512,)
    assert shapes["model.25.weight"] == (512, 256, 3, 3)
    assert shapes["model.38.weight"] == (3, 32, 7, 7)
    assert len(shapes) == 2 * (2 * 5 + 4 * 9 + 2 * 4 + 1)


def test_published_network_draws_a_picture_of_the_same_size() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        sketch = DeepFaceSketch()(torch.rand(1, 3, 32, 48) * 2 - 1)
    assert sketch.shape == (1, 3, 32, 48)
    assert sketch.abs().max() <= 1
