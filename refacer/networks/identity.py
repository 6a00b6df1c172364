"""Whether two aligned pictures show one person: dlib's network of 128 numbers a face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from refacer.networks.landmarks import DlibLandmarks
from refacer.options import AlignOptions
from refacer.pixels import rgb_from_tensor
from refacer.types import Points

SAME_PERSON = 0.6
"""dlib's usual threshold: faces nearer than this are of one person (99.38 % of LFW's pairs)."""


class IdentityNetwork(Protocol):
    """What compares the faces of two pictures. name: of the measure; about: the network and its scale; higher: whether
    more is more alike."""

    name: str
    about: str
    higher: bool

    def compare(self, a: Tensor, b: Tensor) -> float | None:
        """How alike the faces of (1, 3, S, S) in [-1, 1] are; None where one of them shows no face."""
        ...


class DlibIdentity:
    """Euclidean distance of dlib's descriptors (dlib_face_recognition_resnet_model_v1); each face's own landmarks.

    landmarks, recognition: the two files. Not a cosine: never to be compared with CurricularFace's similarity.
    """

    name, higher = "identity_distance_dlib", False
    about = f"dlib's 128 numbers, Euclidean; below {SAME_PERSON} is one person"

    def __init__(self, landmarks: Path, recognition: Path) -> None:
        import dlib  # here, so that a machine without dlib can import this module

        self._dlib: Any = dlib
        self.finder = DlibLandmarks(landmarks)
        self._network: Any = self._dlib.face_recognition_model_v1(str(recognition))

    def compare(self, a: Tensor, b: Tensor) -> float | None:
        """0 for one picture, below SAME_PERSON for one person; None where a picture shows no face."""
        found = [self._central(image) for image in (a, b)]
        return None if found[0] is None or found[1] is None else float(np.linalg.norm(found[0] - found[1]))

    def _central(self, image: Tensor) -> NDArray[np.float64] | None:
        """128 numbers of the face in the middle."""
        faces = self.finder(image, AlignOptions())
        if not faces:
            return None
        return self.describe(image, min(faces, key=lambda face: _off_centre(face, image.shape[-1])))

    def describe(self, image: Tensor, points: Points) -> NDArray[np.float64]:
        """The descriptor (128,) of the face of (1, 3, S, S) that has these 68 landmarks."""
        rgb = rgb_from_tensor(image)
        corners = [self._dlib.point(round(x), round(y)) for x, y in points]
        box = self._dlib.rectangle(0, 0, rgb.shape[1] - 1, rgb.shape[0] - 1)
        shape = self._dlib.full_object_detection(box, corners)
        return np.array(self._network.compute_face_descriptor(rgb, shape))


def _off_centre(points: Points, side: int) -> float:
    """How far the middle of the landmarks is from that of the picture."""
    return math.dist(_middle(points), (side / 2, side / 2))


def _middle(points: Sequence[Sequence[float]]) -> tuple[float, float]:
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
