"""CurricularFace's IR-101 and the crop it was trained on: the identity measure of the paper's Table 1.

Sources: Huang et al., "CurricularFace", CVPR 2020; the improved ResNet is ArcFace's (Deng et al. 2019, Sec. 3.1).
Attribute names are the published state's: `input_layer`, `body.{0..48}`, `output_layer.{0,3,4}`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from refacer.images.resampling import Sampling, sample_affine
from refacer.networks.irse import body, input_layer
from refacer.types import Points

CROP_PX = 112
TEMPLATE = (
    (38.29459953, 51.69630051), (73.53179932, 51.50139999), (56.02519989, 71.73660278),
    (41.54930115, 92.3655014), (70.72990036, 92.20410156),
)  # fmt: skip
"""Where eyes, nose and mouth corners lie in the crop, in pixels (ArcFace's)."""

UNITS, WIDTHS = (3, 13, 30, 3), (64, 128, 256, 512)
"""Residual units and channels of each stage of IR-101; every stage halves the sides."""

DROPOUT = 0.4
EMBEDDING = 512
EYES_68, TIPS_68 = (slice(36, 42), slice(42, 48)), (30, 48, 54)
"""Which of the 68 landmarks (iBUG's) are those five points."""


class CurricularFace(nn.Module):
    """IR-101; units and widths of its four stages may be smaller for a test."""

    def __init__(self, units: Sequence[int] = UNITS, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        last = widths[-1]
        self.input_layer = input_layer(3, widths[0])
        self.body = body(units, widths)
        side = CROP_PX // 2 ** len(units)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last),
            nn.Dropout(DROPOUT),
            nn.Flatten(),
            nn.Linear(last * side**2, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING, affine=False),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Crops (N, 3, 112, 112), RGB in [-1, 1] -> embeddings (N, 512) of length 1, whose products are cosines."""
        return F.normalize(self.output_layer(self.body(self.input_layer(crops))))


def five_points(landmarks: Points) -> Points:
    """Eyes (the mean of six each), tip of the nose, corners of the mouth of 68 landmarks; the picture's left first."""
    points = np.array(landmarks)
    eyes = [points[eye].mean(0) for eye in EYES_68]
    return tuple((float(x), float(y)) for x, y in (*eyes, *points[list(TIPS_68)]))


def face_crop(image: Tensor, landmarks: Points) -> Tensor:
    """The face of (1, 3, H, W) in [-1, 1] with 68 landmarks as (1, 3, 112, 112): its five points laid on TEMPLATE.

    Bilinear without a filter and black outside the picture, as the published measurement does it.
    """
    turn, shift = source_from_crop(five_points(landmarks))
    matrix = (turn.real, -turn.imag, shift.real), (turn.imag, turn.real, shift.imag)
    return sample_affine(image + 1, matrix, (CROP_PX, CROP_PX), Sampling()) - 1


def source_from_crop(points: Points) -> tuple[complex, complex]:
    """The similarity source = turn * crop + shift, points as x + iy, that fits five points best (least squares)."""
    source, crop = (np.array([complex(x, y) for x, y in corners]) for corners in (points, TEMPLATE))
    centred = crop - crop.mean()
    turn = complex(np.vdot(centred, source) / np.vdot(centred, centred))
    return turn, complex(source.mean() - turn * crop.mean())
