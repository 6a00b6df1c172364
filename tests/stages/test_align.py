import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from refacer.errors import UsageError
from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.options import AlignOptions
from refacer.stages.align import align, quad_from_five_points, quad_from_landmarks, select_faces
from refacer.types import CropTransform, Points

DATA = Path(__file__).parents[1] / "data" / "align"
LANDMARKS = json.loads((DATA / "landmarks.json").read_text())


def picture(path: Path) -> Tensor:
    return tensor_from_rgb(np.array(Image.open(path).convert("RGB")))


def landmarks_of(name: str) -> Points:
    return tuple((float(x), float(y)) for x, y in LANDMARKS[name]["landmarks"])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def square(x: float, y: float, side: float) -> Points:
    """An upright quad whose first pixel's centre is (x, y)."""
    left, top = x - 0.5, y - 0.5
    return ((left, top), (left, top + side), (left + side, top + side), (left + side, top))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("size", "kind"), [(256, "png"), (1024, "jpg")])
def test_equals_the_datasets_own_procedure(number: int, size: int, kind: str):
    name = f"source_{number}.jpg"
    face = align(picture(DATA / name), quad_from_landmarks(landmarks_of(name)), size, AlignOptions())
    reference = np.array(Image.open(DATA / f"aligned_{number}_{size}.{kind}"))
    assert psnr(rgb_from_tensor(face), reference) > 48


def test_quad_is_a_square_about_the_face():
    quad = np.array(quad_from_landmarks(landmarks_of("source_0.jpg")))
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    assert np.allclose(sides, sides[0])
    assert np.linalg.det([quad[3] - quad[0], quad[1] - quad[0]]) > 0  # NW, SW, SE, NE


def test_five_points_give_the_same_quad_as_68():
    points = np.array(landmarks_of("source_0.jpg"))
    five = [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    few = tuple((float(x), float(y)) for x, y in five)
    assert np.allclose(quad_from_five_points(few), quad_from_landmarks(landmarks_of("source_0.jpg")))
    assert quad_from_landmarks(few) == quad_from_five_points(few)


def test_a_crop_of_whole_pixels_is_the_picture():
    image = torch.rand(1, 3, 90, 100) * 2 - 1
    face = align(image, square(20, 10, 64), 64, AlignOptions(supersample=1))
    assert torch.allclose(face, image[:, :, 10:74, 20:84], atol=1e-4)


def test_shrinking_keeps_the_place():
    """A ramp cut far too large (FFHQ's shrink by 4): its values still are where the transform says."""
    columns, rows = torch.arange(640.0)[None, :].expand(600, -1), torch.arange(600.0)[:, None].expand(-1, 640)
    image = torch.stack([columns / 320 - 1, rows / 320 - 1, torch.zeros(600, 640)])[None]
    quad = square(53, 41, 512)
    face = align(image, quad, 64, AlignOptions())[0, :2, 8:-8, 8:-8]
    matrix = CropTransform(quad, 64).source_from_crop
    wanted_x = torch.tensor([matrix[0] @ (i, 0, 1) for i in range(8, 56)]) / 320 - 1
    assert torch.allclose(face[0], wanted_x.float()[None, :].expand(48, -1), atol=0.15 / 320)
    assert torch.allclose(face[1], (wanted_x.float()[:, None] - 12 / 320).expand(-1, 48), atol=0.15 / 320)


def test_no_memory_for_what_is_far_away():
    """The result does not depend on pixels far from the quad, and padding fills what leaves the picture."""
    image = torch.rand(1, 3, 300, 400) * 2 - 1
    other = image.clone()
    other[:, :, :, 200:] = 0
    quad = square(-20, 60, 100)
    assert torch.equal(align(image, quad, 32, AlignOptions()), align(other, quad, 32, AlignOptions()))


def test_padding_can_be_switched_off():
    image = torch.ones(1, 3, 100, 100)
    faces = [align(image, square(-40, 20, 64), 64, AlignOptions(padding=padding)) for padding in (True, False)]
    assert faces[0].min() > 0.99
    assert faces[1][:, :, :, :30].abs().max() < 1e-5


def test_quads_without_any_picture_do_not_fail():
    for place in (-500.0, 500.0):
        face = align(torch.rand(1, 3, 50, 60), square(place, place, 40), 32, AlignOptions())
        assert face.shape == (1, 3, 32, 32)
        assert face.isfinite().all()


def test_the_supersampling_is_capped_by_the_transform():
    image = torch.rand(1, 3, 90, 90) * 2 - 1
    capped = align(image, square(5, 5, 80), 64, AlignOptions(transform_size=64))
    assert torch.equal(capped, align(image, square(5, 5, 80), 64, replace(AlignOptions(), supersample=1)))


FACES = [landmarks_of("source_1.jpg"), landmarks_of("source_0.jpg"), landmarks_of("source_1.jpg")]


@pytest.mark.parametrize(
    ("which", "wanted"), [("all", [0, 1, 2]), ("largest", [1]), ("1", [1]), ("2,0", [0, 2]), ("0, 0", [0])]
)
def test_select_faces(which: str, wanted: list[int]):
    assert select_faces(FACES, which) == wanted


@pytest.mark.parametrize("which", ["3", "-1", "biggest", "", "0,", "1.5"])
def test_nonsense_is_a_usage_error(which: str):
    with pytest.raises(UsageError, match="--faces"):
        select_faces(FACES, which)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_crop():
    image, quad = picture(DATA / "source_1.jpg"), quad_from_landmarks(landmarks_of("source_1.jpg"))
    there = align(image.cuda(), quad, 256, AlignOptions()).cpu()
    assert torch.allclose(there, align(image, quad, 256, AlignOptions()), atol=1e-2)
