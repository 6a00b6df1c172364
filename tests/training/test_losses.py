"""Each loss against its definition, written out by other means."""

import math

import cv2
import numpy as np
import pytest
import torch

from refacer.options import FinetuneOptions
from refacer.training import losses
from refacer.training.augment import jitter

OPTIONS = FinetuneOptions()


def test_logistic_losses_at_known_logits():
    logits = torch.tensor([[0.0], [2.0]])
    assert losses.generator_loss(logits).tolist() == pytest.approx([math.log(2), math.log(1 + math.exp(-2))])
    assert losses.discriminator_loss(logits, logits)[0].item() == pytest.approx(2 * math.log(2))


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    weight = torch.randn(3, 4, 4)
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    penalty = losses.r1_penalty((images * weight).sum([1, 2, 3])[:, None], images)
    assert torch.allclose(penalty, weight.square().sum().expand(2))


def test_path_length_of_a_linear_generator():
    jacobian = torch.randn(3 * 4 * 4, 5)
    ws = torch.randn(2, 3, 5, requires_grad=True)
    images = (ws.sum(1) @ jacobian.T).view(2, 3, 4, 4)
    noise = torch.randn(2, 3, 4, 4)
    expected = (noise.flatten(1) / 4 @ jacobian).norm(dim=1)
    assert torch.allclose(losses.path_lengths(images, ws, noise), expected, rtol=1e-5)


def test_sketch_loss_is_a_sum_over_three_channels_at_512():
    real, rendering = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.5)
    loss = losses.sketch_loss(real, rendering, lambda x: x, OPTIONS)
    assert loss.item() == pytest.approx(0.5 * 3 * 512**2)
    assert OPTIONS.sketch_weight * loss.item() == pytest.approx(1.966, abs=1e-3)


def test_sketch_loss_sees_at_most_512_pixels():
    seen = []
    losses.sketch_loss(
        torch.zeros(1, 3, 1024, 1024), torch.zeros(1, 3, 1024, 1024), lambda x: seen.append(x) or x, OPTIONS
    )
    assert [tuple(x.shape) for x in seen] == [(1, 3, 512, 512)] * 2


def test_the_blur_is_eq_2s_gaussian():
    rng = np.random.default_rng(0)
    picture = rng.uniform(-1, 1, (256, 256, 3)).astype(np.float32)
    expected = cv2.GaussianBlur(picture, (13, 13), 10, borderType=cv2.BORDER_REFLECT_101)
    ours = losses.blur(torch.from_numpy(picture).permute(2, 0, 1)[None], OPTIONS)[0].permute(1, 2, 0)
    assert np.abs(ours.numpy() - expected).max() < 1e-5


def test_color_loss_ignores_detail_and_sees_colour():
    class Pixels:
        def features(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) / images[0].numel() ** 0.5

    flat = torch.zeros(1, 3, 256, 256)
    grain = 0.2 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    shifted = flat + 0.2
    detail = losses.color_loss(flat, flat + grain, Pixels(), OPTIONS)
    color = losses.color_loss(flat, shifted, Pixels(), OPTIONS)
    assert color.item() == pytest.approx(0.04, rel=1e-4)
    assert detail.item() < 0.02 * color.item()


def test_jitter_moves_pictures_by_at_most_its_amount():
    ramp = torch.linspace(-0.5, 0.5, 64).expand(8, 3, 64, 64)
    moved = jitter(ramp, 0.03, torch.Generator().manual_seed(0))
    step = (moved - ramp)[:, :, 8:-8, 8:-8].abs().amax([1, 2, 3])
    assert step.max() < 0.03 + 0.03 * 0.5 + 1e-3
    assert step.min() > 0
    assert torch.equal(jitter(ramp, 0.03, torch.Generator().manual_seed(0)), moved)
