"""The losses of StyleGAN2-ADA's `stylegan2` configuration, and the paper's sketch and colour losses.

All return one value a picture, (N,) float32; the caller takes the mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.networks.perceptual import Perceptual, distance, shrink
from refacer.networks.sketch import SketchExtractor
from refacer.options import FinetuneOptions

SKETCH_VALUES = 3 * 512**2
"""Eq. 1 sums over three channels at 512²; a mean times this number is that sum at any resolution."""


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator."""
    return F.softplus(-fake_logits)[:, 0]


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator."""
    return F.softplus(fake_logits)[:, 0] + F.softplus(-real_logits)[:, 0]


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """The generator's side of the hinge loss (Lim & Ye 2017)."""
    return -fake_logits[:, 0]


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Hinge loss of the discriminator."""
    return F.relu(1 + fake_logits)[:, 0] + F.relu(1 - real_logits)[:, 0]


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """Squared gradient norm of the logits with respect to each un-augmented real image."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Length of the Jacobian's product with `noise` ~ N(0, 1), same shape as images (Karras et al. 2020, Eq. 4)."""
    scaled = noise / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def sketch_loss(
    real: Tensor,
    rendering: Tensor,
    extractor: SketchExtractor,
    options: FinetuneOptions,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Eq. 1: L1 between the sketches of G_real(w+) and G_rendering(w+), as a sum over 3·512² values.

    `dtype` is of an extractor's layers; one without weights draws in float32, for it looks at contrasts of 1 in 100.
    """

    def sketch(images: Tensor) -> Tensor:
        shrunk = shrink(images, options.sketch_max_px)
        with _reduced(images, dtype if _has_weights(extractor) else torch.float32):
            return extractor(shrunk).float()

    with torch.no_grad():
        target = sketch(real)
    return (target - sketch(rendering)).abs().mean([1, 2, 3]) * SKETCH_VALUES


def similarity_loss(
    source: Tensor, copy: Tensor, perceptual: Perceptual, side_px: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Perceptual distance of both pictures at `side_px`; dtype: of the perceptual network's layers."""

    def features(images: Tensor) -> Tensor:
        shrunk = shrink(images, side_px)
        with _reduced(images, dtype):
            return perceptual.features(shrunk).float()

    with torch.no_grad():
        target = features(source)
    return distance(target, features(copy))


def color_loss(
    real: Tensor,
    rendering: Tensor,
    perceptual: Perceptual,
    options: FinetuneOptions,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Eq. 2: perceptual distance of both pictures at 256², after a Gaussian blur (kernel 13, sigma 10).

    `dtype` is of the perceptual network's layers; what comes before and after them is float32.
    """

    def features(images: Tensor) -> Tensor:
        blurred = blur(shrink(images, options.color_px), options)
        with _reduced(images, dtype):
            return perceptual.features(blurred).float()

    with torch.no_grad():
        target = features(real)
    return distance(target, features(rendering))


def _has_weights(extractor: SketchExtractor) -> bool:
    return isinstance(extractor, nn.Module) and next(extractor.parameters(), None) is not None


def _reduced(images: Tensor, dtype: torch.dtype) -> torch.autocast:
    """Layers in `dtype` where it is not float32."""
    return torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=dtype != torch.float32)


def blur(images: Tensor, options: FinetuneOptions) -> Tensor:
    """B of Eq. 2, reflecting at the border; a picture smaller than 256² is blurred as if it were enlarged."""
    scale = images.shape[-1] / options.color_px
    radius = max(1, round((options.color_blur_kernel // 2) * scale))
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (x / (options.color_blur_sigma * scale)).square())
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, kernel, groups=images.shape[1])
    return F.conv2d(across, kernel.transpose(2, 3), groups=images.shape[1])
