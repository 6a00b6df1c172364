"""What is measured on one aligned face: sharpness, a perceptual hash, and how surely it shows a face."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refacer.images.pixels import rgb_from_tensor
from refacer.networks.perceptual import shrink

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
BLUR_PX = 256  # blur is judged at no more than this size, or a large natural face would count as blurred
BLUR_CENTRE_FRAC = 0.6  # of the side: the face, not the background, which may be out of focus
BLUR_KERNEL = 9  # Crété et al.: length of the box filter
HASH_PX, HASH_SIDE = 32, 16  # pixels a side that are transformed; frequencies a side that are kept
HASH_BITS = HASH_SIDE**2
SCORED_PX = 256  # larger pictures are shrunk to it, smaller ones doubled until they have it
LEAST_SCORE = -1.0  # where no face is found even at this score, this is the score
CENTRE_FRAC = 0.2  # of the side: how far the face's box may lie from where an aligned face is


def luma(image: Tensor) -> Tensor:
    """Brightness (1, 1, H, W) of (1, 3, H, W)."""
    return (image * image.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blur_of(image: Tensor) -> float:
    """How blurred (1, 3, S, S) is, from 0 (sharp) to 1, in the middle of the picture.

    The share of the differences between neighbours that a further blur leaves alone (Crété et al. 2007, "The blur
    effect"); the more blurred of the two directions. A picture of one colour is 1.
    """
    grey = luma(image)
    side = grey.shape[-1]
    if side > BLUR_PX:
        grey = F.adaptive_avg_pool2d(grey, BLUR_PX)
    margin = round(grey.shape[-1] * (1 - BLUR_CENTRE_FRAC) / 2)
    grey = grey[..., margin : grey.shape[-1] - margin, margin : grey.shape[-1] - margin]
    return max(_blur_along(grey), _blur_along(grey.transpose(2, 3)))


def perceptual_hash(image: Tensor) -> NDArray[np.uint8]:
    """HASH_BITS bits, packed, of (1, 3, S, S): the signs of low frequencies of its cosine transform to their median.

    Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", 3.2.1, with more frequencies,
    because aligned faces are alike in the lowest.
    """
    small = F.adaptive_avg_pool2d(luma(image), HASH_PX)[0, 0].double()
    basis = _cosines(HASH_PX, HASH_SIDE)
    waves = (basis @ small @ basis.T).flatten()[1:]  # without the mean brightness
    bits = torch.cat([torch.zeros(1, dtype=torch.bool), waves > waves.median()])
    return np.packbits(np.array(bits.tolist(), np.bool_))


class FaceScore:
    """dlib's frontal HOG detector on aligned faces: how sure it is, which a landmark detector does not tell.

    Its usual threshold is 0; clear faces have 1 and more.
    """

    def __init__(self) -> None:
        import dlib  # here, so that a machine without dlib can import this module

        library: Any = dlib
        self._detector: Any = library.get_frontal_face_detector()

    def __call__(self, face: Tensor) -> float:
        """The score of the face in the middle of (1, 3, S, S) in [-1, 1]; LEAST_SCORE where there is none."""
        rgb = rgb_from_tensor(shrink(face, SCORED_PX))
        side = rgb.shape[0]
        doublings = max(0, math.ceil(math.log2(SCORED_PX / side)))
        boxes, scores, _ = self._detector.run(rgb, doublings, LEAST_SCORE)
        found = zip(boxes, scores, strict=True)
        return max((float(score) for box, score in found if _is_central(box, side)), default=LEAST_SCORE)


def _blur_along(grey: Tensor) -> float:
    """Crété et al., Eq. 1 to 7, along the width."""
    box = grey.new_full((1, 1, 1, BLUR_KERNEL), 1 / BLUR_KERNEL)
    blurred = F.conv2d(F.pad(grey, (BLUR_KERNEL // 2,) * 2 + (0, 0), mode="replicate"), box)
    sharp_steps, soft_steps = (x.diff(dim=3).abs() for x in (grey, blurred))
    total = float(sharp_steps.sum())
    lost = float((sharp_steps - soft_steps).clamp(min=0).sum())
    return 1 - lost / total if total > 0 else 1.0


def _cosines(length: int, count: int) -> Tensor:
    """The first `count` rows of the orthonormal DCT-II, (count, length) float64."""
    k, n = torch.arange(count, dtype=torch.float64)[:, None], torch.arange(length, dtype=torch.float64)
    rows = torch.cos(math.pi * k * (n + 0.5) / length) * math.sqrt(2 / length)
    rows[0] /= math.sqrt(2)
    return rows


def _is_central(box: Any, side: int) -> bool:
    """Whether a box is that of the face the picture was aligned to: between eyes and mouth, below the middle."""
    x, y = (box.left() + box.right()) / 2, (box.top() + box.bottom()) / 2
    return math.dist((x, y), (side / 2, 0.55 * side)) < CENTRE_FRAC * side
