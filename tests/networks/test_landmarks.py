import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from refacer.errors import InputRefused
from refacer.images.pixels import tensor_from_rgb
from refacer.networks.landmarks import DlibLandmarks, RetinaFaceLandmarks, retinaface_network, without_duplicates
from refacer.options import AlignOptions
from refacer.stages.align import quad_from_landmarks

DATA = Path(__file__).parents[1] / "data" / "faces"
TRUE_QUAD = np.array(json.loads((DATA / "display.json").read_text())["quad"])


@pytest.fixture(scope="module")
def finder() -> DlibLandmarks:
    spec = importlib.util.find_spec("face_recognition_models")  # found, never imported
    assert spec is not None
    assert spec.origin is not None
    return DlibLandmarks(Path(spec.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat")


@pytest.fixture(scope="module")
def display() -> Tensor:
    return tensor_from_rgb(np.array(Image.open(DATA / "display.jpg")))


def assert_near_the_true_quad(points, true_quad: np.ndarray) -> None:
    quad, side = np.array(quad_from_landmarks(points)), np.linalg.norm(true_quad[3] - true_quad[0])
    assert np.linalg.norm(quad.mean(0) - true_quad.mean(0)) < 0.04 * side
    assert np.linalg.norm(quad[3] - quad[0]) == pytest.approx(side, rel=0.1)


def test_the_face_of_a_display(finder: DlibLandmarks, display: Tensor):
    faces = finder(display, AlignOptions())
    assert [len(face) for face in faces] == [68]
    assert_near_the_true_quad(faces[0], TRUE_QUAD)


def test_a_shrunk_search_loses_no_precision(finder: DlibLandmarks, display: Tensor):
    """The face is found in a picture of half the size; its landmarks are read at the full one."""
    faces = finder(display, AlignOptions(max_detect_px=210))
    assert len(faces) == 1
    assert_near_the_true_quad(faces[0], TRUE_QUAD)
    distances = np.linalg.norm(np.subtract(faces[0], finder(display, AlignOptions())[0]), axis=1)
    assert distances.mean() < 4
    assert any(x % 2 for x, _ in faces[0])


def test_faces_come_from_left_to_right(finder: DlibLandmarks, display: Tensor):
    smaller = F.interpolate(display, scale_factor=0.8, mode="bilinear", antialias=True)
    both = torch.full((1, 3, 420, 760), 0.5)
    both[:, :, :, :420] = display
    both[:, :, 40:376, 420:756] = smaller
    faces = finder(both, AlignOptions())
    assert len(faces) == 2
    assert_near_the_true_quad(faces[0], TRUE_QUAD)
    assert_near_the_true_quad(faces[1], TRUE_QUAD * 0.8 + (420, 40))


def test_a_small_face_is_found_at_the_second_try(finder: DlibLandmarks, display: Tensor):
    tiny = F.interpolate(display, scale_factor=0.18, mode="bilinear", antialias=True)
    assert len(finder(tiny, AlignOptions(upsample=0))) == 1


def test_no_face_is_an_empty_list(finder: DlibLandmarks):
    assert finder(torch.zeros(1, 3, 64, 80), AlignOptions()) == []


def test_a_file_that_is_no_predictor_is_refused(tmp_path: Path):
    path = tmp_path / "landmarks.dat"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputRefused, match=r"landmarks\.dat"):
        DlibLandmarks(path)


def test_duplicates_are_dropped():
    boxes = [(0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (20.0, 0.0, 30.0, 10.0), (0.0, 0.0, 5.0, 5.0)]
    assert without_duplicates(boxes) == [boxes[0], boxes[2], boxes[3]]


@pytest.fixture
def planted() -> dict[str, Tensor]:
    """RetinaFace's small network whose every output is a bias: no anchor is a face until a test says so."""
    state = retinaface_network("mobile0.25", "cpu").state_dict()
    for key in state:
        if "Head" in key:
            state[key] = torch.zeros_like(state[key])
    for level in range(3):
        state[f"ClassHead.{level}.conv1x1.bias"] = torch.tensor([9.0, -9.0] * 2)
    return state


def test_retinaface_decodes_points_around_its_anchors(planted: dict[str, Tensor]):
    """The larger anchor (512 px) of the coarsest level is made a face with eyes, nose and mouth at known offsets."""
    planted["ClassHead.2.conv1x1.bias"] = torch.tensor([9.0, -9.0, -9.0, 9.0])
    offsets = torch.tensor([-1.0, -1.0, 1.0, -1.0, 0.0, 0.0, -0.5, 1.0, 0.5, 1.0])
    planted["LandmarkHead.2.conv1x1.bias"] = torch.cat([torch.zeros(10), offsets])
    network = {f"module.{key}": value for key, value in planted.items()}
    faces = RetinaFaceLandmarks(network, "mobile0.25")(torch.zeros(1, 3, 64, 32), AlignOptions())
    assert len(faces) == 1  # the two anchors overlap
    spread = np.array(faces[0]) - faces[0][2]
    assert np.allclose(spread, offsets.view(5, 2).numpy() * 0.1 * 512, atol=1e-2)
    assert faces[0][2] in {(16.0, 16.0), (16.0, 48.0)}


def test_retinaface_points_are_in_the_pixels_of_the_full_picture(planted: dict[str, Tensor]):
    planted["ClassHead.2.conv1x1.bias"] = torch.tensor([9.0, -9.0, -9.0, 9.0])
    (face,) = RetinaFaceLandmarks(planted, "mobile0.25")(torch.zeros(1, 3, 128, 128), AlignOptions(max_detect_px=32))
    assert face[2] == pytest.approx((65.5, 65.5), abs=1e-3)


def test_retinaface_without_a_face(planted: dict[str, Tensor]):
    assert RetinaFaceLandmarks(planted, "mobile0.25")(torch.zeros(1, 3, 64, 64), AlignOptions()) == []
