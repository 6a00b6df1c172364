"""Finding faces: dlib's HOG detector with 68 landmarks (default), or RetinaFace with 5.

dlib works on numpy arrays on the CPU; everything else between files works on torch tensors on the chosen device.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from refacer.errors import InputRefused
from refacer.images.canvas import Picture, shrunk
from refacer.images.pixels import rgb_from_tensor
from refacer.options import AlignOptions
from refacer.types import Points

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

DUPLICATE_IOU = 0.5
RETRY_MAX_PX = 1280  # longer side up to which a picture without a face is searched once more, enlarged further
CONTEXT_FRAC = 0.5  # of the box's side, kept around it for the landmarks
LANDMARK_BOX_PX = 400  # boxes are shrunk to this side before the landmarks are read


class DlibLandmarks:
    """dlib's frontal HOG detector and 68-point shape predictor.

    path: `shape_predictor_68_face_landmarks.dat`. Raises InputRefused where dlib cannot read it.
    """

    def __init__(self, path: Path | str) -> None:
        import dlib  # here, so that a machine without dlib can import this module

        self._dlib: Any = dlib
        self._own = threading.local()  # dlib's detector is not to be shared: it keeps the picture it looks at
        try:
            self._predictor = self._dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise InputRefused(f"{path}: not a dlib shape predictor; install the file again") from error

    def __call__(self, image: Picture, options: AlignOptions) -> list[Points]:
        """Every face of (1, 3, H, W) in [-1, 1]: 68 points in its pixels each, from left to right."""
        small, scale = shrunk(image, options.max_detect_px)
        boxes = self._boxes(small, options.upsample)
        if not boxes and max(small.shape[2:]) <= RETRY_MAX_PX:
            boxes = self._boxes(small, max(options.upsample, 1) + 1)
        faces = [self._landmarks(image, _scaled(box, 1 / scale)) for box in boxes]
        return sorted(faces, key=_centre_x)

    def _boxes(self, image: Tensor, upsample: int) -> list[Box]:
        """The detector's boxes, best first, without duplicates."""
        if min(image.shape[2:]) < 2:  # dlib takes no array that is one pixel wide, and there is no face in one
            return []
        if not hasattr(self._own, "detector"):
            self._own.detector = self._dlib.get_frontal_face_detector()
        rectangles, scores, _ = self._own.detector.run(rgb_from_tensor(image), upsample, 0.0)
        ranked = sorted(zip(scores, rectangles, strict=True), key=lambda found: -found[0])
        boxes = [(float(r.left()), float(r.top()), float(r.right()), float(r.bottom())) for _, r in ranked]
        return without_duplicates(boxes)

    def _landmarks(self, image: Picture, box: Box) -> Points:
        """68 points of the face in `box`, read at the picture's own resolution where that is not larger than needed."""
        side = box[2] - box[0]
        margin = CONTEXT_FRAC * side
        left, top = max(math.floor(box[0] - margin), 0), max(math.floor(box[1] - margin), 0)
        region = image[:, :, top : math.ceil(box[3] + margin), left : math.ceil(box[2] + margin)]
        region, scale = shrunk(region, round(LANDMARK_BOX_PX * max(region.shape[2:]) / side))
        corners = (round(value) for value in _scaled((box[0] - left, box[1] - top, box[2] - left, box[3] - top), scale))
        shape = self._predictor(rgb_from_tensor(region), self._dlib.rectangle(*corners))
        return tuple((_unscaled(p.x, scale) + left, _unscaled(p.y, scale) + top) for p in shape.parts())


class RetinaFaceLandmarks:
    """RetinaFace (facexlib's network): 5 points a face, eyes, nose, mouth corners, for `quad_from_landmarks`.

    state: the published state dict, verified by the caller; a `module.` prefix is removed.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        network: Literal["resnet50", "mobile0.25"] = "resnet50",
        device: torch.device | str = "cpu",
        min_score: float = 0.8,
    ) -> None:
        self._network = retinaface_network(network, device)
        self._network.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
        self._min_score = min_score

    def __call__(self, image: Picture, options: AlignOptions) -> list[Points]:
        """Every face of (1, 3, H, W) in [-1, 1]: 5 points in its pixels each, from left to right."""
        small, scale = shrunk(image, options.max_detect_px)
        bgr = rgb_from_tensor(small)[:, :, ::-1]
        with torch.no_grad():
            found = self._network.detect_faces(bgr.astype("float32"), conf_threshold=self._min_score)
        faces = [_pairs([_unscaled(float(v), scale) for v in row[5:15]]) for row in found]
        return sorted(faces, key=_centre_x)


def retinaface_network(network: str, device: torch.device | str) -> Any:
    """facexlib's RetinaFace without weights; nothing is downloaded."""
    from facexlib.detection.retinaface import RetinaFace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its use of torchvision's older constructor arguments
        model: nn.Module = RetinaFace(network_name=network, device=torch.device(device))
    return model.eval()


def without_duplicates(boxes: Iterable[Box]) -> list[Box]:
    """Keep each box that overlaps no earlier one by an intersection over union of more than 0.5."""
    kept: list[Box] = []
    for box in boxes:
        if all(_iou(box, other) <= DUPLICATE_IOU for other in kept):
            kept.append(box)
    return kept


def _iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared, 1e-9)


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = (value * scale for value in box)
    return left, top, right, bottom


def _unscaled(index: float, scale: float) -> float:
    """A pixel index of the shrunk image as one of the full image (its centre stays a centre)."""
    return (index + 0.5) / scale - 0.5


def _pairs(values: list[float]) -> Points:
    return tuple(zip(values[::2], values[1::2], strict=True))


def _centre_x(points: Points) -> float:
    return sum(x for x, _ in points) / len(points)
