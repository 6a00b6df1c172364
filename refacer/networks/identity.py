"""Whether two aligned pictures show one person: CurricularFace's cosine, or dlib's network of 128 numbers a face."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refacer.images.pixels import rgb_from_tensor
from refacer.networks.curricular_face import CurricularFace, face_crop
from refacer.networks.landmarks import DlibLandmarks
from refacer.options import AlignOptions
from refacer.types import Points

FaceFinder = Callable[[Tensor, AlignOptions], list[Points]]
"""Landmarks of every face of (1, 3, H, W) in [-1, 1]."""

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


class CurricularFaceIdentity:
    """Cosine of CurricularFace's embeddings, as the paper's Table 1 measures.

    finder: dlib's 68 landmarks; network: in eval mode, on the device of the pictures.
    """

    name, higher = "identity_similarity_curricularface", True
    about = "CurricularFace, cosine; aligned by five of dlib's landmarks in place of MTCNN's"

    def __init__(self, finder: FaceFinder, network: CurricularFace) -> None:
        self._finder, self._network = finder, network

    @torch.no_grad()
    def compare(self, a: Tensor, b: Tensor) -> float | None:
        """-1 to 1, 1 for one picture; None where a picture shows no face."""
        first, second = central_face(self._finder, a), central_face(self._finder, b)
        if first is None or second is None:
            return None
        embeddings = self._network(torch.cat([face_crop(a, first), face_crop(b, second)]))
        return float(embeddings[0] @ embeddings[1])


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
        first, second = central_face(self.finder, a), central_face(self.finder, b)
        if first is None or second is None:
            return None
        return float(np.linalg.norm(self.describe(a, first) - self.describe(b, second)))

    def describe(self, image: Tensor, points: Points) -> NDArray[np.float64]:
        """The descriptor (128,) of the face of (1, 3, S, S) that has these 68 landmarks."""
        rgb = rgb_from_tensor(image)
        corners = [self._dlib.point(round(x), round(y)) for x, y in points]
        box = self._dlib.rectangle(0, 0, rgb.shape[1] - 1, rgb.shape[0] - 1)
        shape = self._dlib.full_object_detection(box, corners)
        return np.array(self._network.compute_face_descriptor(rgb, shape))


def central_face(finder: FaceFinder, image: Tensor) -> Points | None:
    """The landmarks of the face that is nearest to the middle of (1, 3, S, S); None where there is no face."""
    middle = image.shape[-1] / 2

    def off_centre_px(face: Points) -> float:
        x, y = (sum(values) / len(face) for values in zip(*face, strict=True))
        return math.hypot(x - middle, y - middle)

    return min(finder(image, AlignOptions()), key=off_centre_px, default=None)
