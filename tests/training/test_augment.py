from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from refacer.errors import ShapeMismatch
from refacer.training.augment import DRAWS, NORMAL, SYM6, AdaController, Augment, amounts_of
from refacer.training.augment_filters import warp

REFERENCE = Path(__file__).parents[1] / "data" / "augment_64.npz"
TRANSFORMS = (
    "xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac",
    "brightness", "contrast", "lumaflip", "hue", "saturation",
)  # fmt: skip
SINGLES = sorted(set(TRANSFORMS) - {"xflip", "rotate90"})  # the reference holds these two only within the whole
READS_BACK = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(REFERENCE) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def only(name: str, amounts: Tensor) -> Tensor:
    """The same amounts (N, 15) with 0, which does nothing, for every other transform."""
    kept = torch.tensor([gate.removesuffix("_again") == name for gate, _ in DRAWS])
    return amounts * kept


def at_percentile(q: float, count: int) -> Tensor:
    """Amounts (N, 15) as the published `debug_percentile` sets them.

    The q-quantile of a discrete or uniform draw, erfinv(2q - 1) sigma for a normal one (its quantile without the factor
    sqrt(2)), 0 for the second rotation.
    """
    sizes = torch.tensor([float(size) for _, size in DRAWS])
    amounts = amounts_of(torch.full((count, len(DRAWS)), q), sizes)
    amounts[:, -len(NORMAL) :] /= 2**0.5
    amounts[:, [gate for gate, _ in DRAWS].index("rotate_again")] = 0.0
    return amounts


def transformed(images: Tensor, name: str, q: float) -> Tensor:
    return Augment().transform(images, only(name, at_percentile(q, len(images))))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, side: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side, generator=seeded(seed)) * 2 - 1


@pytest.mark.parametrize("percentile", [0.2, 0.5, 0.8])
def test_the_whole_pipeline_equals_the_published_one(reference: dict[str, Tensor], percentile: float) -> None:
    images = reference["input"]
    result = Augment().transform(images, at_percentile(percentile, len(images)))
    torch.testing.assert_close(result, reference[f"bgc_p1_percentile_{percentile}"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", SINGLES)
def test_each_transform_equals_the_published_one(reference: dict[str, Tensor], name: str) -> None:
    expected = reference[f"{name}_percentile_0.8"]
    result = transformed(reference["input"][: len(expected)], name, 0.8)
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_p_zero_changes_nothing(side: int) -> None:
    images = noise(2, side)
    torch.testing.assert_close(Augment(0.0)(images), images, rtol=0, atol=1e-6 * side)


def test_flip_and_quarter_turns_point_the_right_way() -> None:
    """Not exact on noise: the published filter is not quite symmetric, so only what is smooth comes out unchanged."""
    images = torch.nn.functional.interpolate(noise(1, 4), size=32, mode="bicubic")
    torch.testing.assert_close(transformed(images, "xflip", 0.5), images.flip(3), rtol=0, atol=0.05)
    turned = transformed(images, "rotate90", 0.3)
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)), rtol=0, atol=0.05)


@pytest.mark.parametrize("shift", [(3, 0), (0, -9), (25, 40), (-62, 62)])
def test_beyond_its_edges_the_picture_goes_on_mirrored(shift: tuple[int, int]) -> None:
    images = noise(1, 32)
    taps = torch.tensor(SYM6) / sum(SYM6)
    warped = warp(images, torch.eye(2)[None], torch.tensor([shift], dtype=torch.float32), taps)
    across, down = (torch.from_numpy(np.pad(np.arange(32), 96, mode="reflect")[96 + s : 128 + s]) for s in shift)
    torch.testing.assert_close(warped, images[:, :, down][..., across], rtol=0, atol=1e-4)


def test_draws_come_from_the_generator_alone() -> None:
    images, augment = noise(4, 32), Augment(0.8)
    first = augment(images, generator=seeded(5))
    torch.manual_seed(99)
    assert torch.equal(first, augment(images, generator=seeded(5)))
    assert not torch.equal(first, augment(images, generator=seeded(6)))


def test_with_p_one_every_transform_is_drawn_and_with_p_zero_none() -> None:
    images = torch.zeros(50, 3, 8, 8)
    assert (Augment(1.0).draw(images, seeded()) != 0).any(0).all()
    assert not Augment(0.0).draw(images, seeded()).any()


@pytest.mark.parametrize("name", ["brightness", "rotate"])
def test_share_of_augmented_images_is_p(name: str) -> None:
    images = noise(1, 8).expand(1000, -1, -1, -1)
    augment = Augment(0.3)
    result = augment.transform(images, only(name, augment.draw(images, seeded())))
    changed = (result - images).abs().amax((1, 2, 3)) > 1e-3
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.05)


def test_normal_draws_have_the_published_spread() -> None:
    augment, images = Augment(1.0), torch.zeros(4000, 3, 8, 8)
    added = augment.transform(images, only("brightness", augment.draw(images, seeded())))[:, 0, 0, 0]
    assert added.mean().item() == pytest.approx(0.0, abs=0.02)
    assert added.std().item() == pytest.approx(0.2, abs=0.01)


def test_second_derivatives_are_those_of_an_affine_map() -> None:
    """For a(x) = A x + b and r = |grad |a(x)|^2|^2, the gradient of r is 4 A'A grad; J and J' from first order only."""
    images = noise(2, 16).requires_grad_()
    augment = Augment(1.0)

    def apply(x: Tensor) -> Tensor:
        return augment(x, generator=seeded(3))

    (gradient,) = torch.autograd.grad(apply(images).square().sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    direction = gradient.detach()
    moved = (apply(images.detach() + direction) - apply(images.detach())).detach()
    (expected,) = torch.autograd.grad(apply(images), images, 4 * moved)
    assert second.abs().max() > 1
    torch.testing.assert_close(second, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    torch.testing.assert_close((expected * direction).sum(), 4 * moved.square().sum(), rtol=1e-4, atol=0)


def test_gradient_through_a_broadcast_loss() -> None:
    images = noise(2, 16).requires_grad_()
    augment = Augment(1.0)
    result = augment.transform(images, only("xint", augment.draw(images, seeded())))
    (gradient,) = torch.autograd.grad(result.sum(), images)
    assert gradient.sum().item() == pytest.approx(images.numel(), rel=1e-4)


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name().split(".")[0])
        return func(*args, **(kwargs or {}))


def step_of_training(augment: Augment, controller: AdaController, images: Tensor) -> None:
    augmented = augment(images, generator=seeded())
    (gradient,) = torch.autograd.grad(augmented.square().sum(), images, create_graph=True)
    gradient.square().sum().backward()
    controller.accumulate(augmented.mean((1, 2, 3)))
    controller.update(32)


def test_nothing_is_read_back_to_the_host() -> None:
    augment = Augment(0.5)
    images = noise(2, 16).requires_grad_()
    with _Operations() as seen:
        step_of_training(augment, AdaController(augment), images)
    assert "aten::grid_sampler_2d" in seen.names
    assert not seen.names & READS_BACK


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu_and_never_waits(reference: dict[str, Tensor]) -> None:
    augment = Augment(0.5).cuda()
    images = reference["input"].cuda().requires_grad_()
    controller = AdaController(augment)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step_of_training(augment, controller, images)
        result = augment(images, generator=seeded(2))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = augment.cpu()(reference["input"], generator=seeded(2))
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=2e-3)  # TF32 in the colours where allowed


def test_half_precision_around_it_moves_no_pixel(reference: dict[str, Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = reference["input"]
        result = Augment().transform(images, at_percentile(0.8, len(images)))
    torch.testing.assert_close(result, reference["bgc_p1_percentile_0.8"], rtol=0, atol=2e-5)


def test_a_published_state_loads() -> None:
    augment = Augment()
    assert set(augment.state_dict()) == {"p", "Hz_geom"}
    augment.load_state_dict({"p": torch.tensor(0.25), "Hz_geom": augment.Hz_geom.clone()})
    assert augment.p.item() == 0.25


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 3, 32, 64), (1, 3, 31, 31)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="pass"):
        Augment()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("start", "logits", "expected"),
    [
        (0.1, lambda n: torch.ones(n), 0.1 + 0.00128),
        (0.1, lambda n: -torch.ones(n), 0.1 - 0.00128),
        (0.0005, lambda n: -torch.ones(n), 0.0),
        (0.1, lambda n: torch.arange(n).remainder(2) * 2.0 - 1, 0.1 - 0.00128),  # mean 0, below the target
    ],
)
def test_controller_takes_the_published_step(start: float, logits: Callable[[int], Tensor], expected: float) -> None:
    augment = Augment(start)
    controller = AdaController(augment, target=0.6, interval=4, ada_kimg=100.0)
    for _ in range(4):
        controller.accumulate(logits(32)[:, None])
    controller.update(32)
    assert augment.p.item() == pytest.approx(expected, abs=1e-8)


def test_controller_without_data_stays() -> None:
    augment = Augment(0.1)
    AdaController(augment).update(32)
    assert augment.p.item() == pytest.approx(0.1)


def test_controller_goes_on_from_its_state() -> None:
    first, second = AdaController(Augment(0.1)), AdaController(Augment(0.1))
    first.accumulate(torch.ones(8))
    second.load_state_dict(first.state_dict())
    first.update(32)
    second.update(32)
    assert first.augment.p.item() == second.augment.p.item() > 0.1
