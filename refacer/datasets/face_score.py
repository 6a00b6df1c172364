"""How sure dlib's detector is that an aligned picture shows a face: what a landmark detector does not tell."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from refacer.images.pixels import rgb_from_tensor
from refacer.networks.perceptual import shrink

SCORED_PX = 256  # larger pictures are shrunk to it, smaller ones doubled until they have it
LEAST_SCORE = -1.0  # where no face is found even at this score, this is the score
CENTRE_FRAC = 0.2  # of the side: how far the face's box may lie from where an aligned face is


class FaceScore:
    """dlib's frontal HOG detector on aligned faces; its usual threshold is 0, clear faces have 1 and more."""

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


def _is_central(box: Any, side: int) -> bool:
    """Whether a box is that of the face the picture was aligned to: between eyes and mouth, below the middle."""
    x, y = (box.left() + box.right()) / 2, (box.top() + box.bottom()) / 2
    return math.dist((x, y), (side / 2, 0.55 * side)) < CENTRE_FRAC * side
