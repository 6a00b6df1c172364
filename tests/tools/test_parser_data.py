import numpy as np
import pytest
import torch

from refacer.networks.parser import STUDIO_IDS
from tools.studio.parser_data import NECK, SKIN, augmented, class_indices, mended
from tools.studio.train_parser import batches, scores


class Finder:
    """Finds a face with a given outline: the jaw along a rectangle's three lower sides."""

    def __init__(self, left: float, top: float, right: float, bottom: float):
        x = np.concatenate([np.full(4, left), np.linspace(left, right, 9), np.full(4, right)])
        y = np.concatenate([np.linspace(top, bottom, 4), np.full(9, bottom), np.linspace(bottom, top, 4)])
        brows = [(value, top) for value in np.linspace(left, right, 10)]
        eyes = [(x, 30.0) for x in [26.0] * 6 + [38.0] * 6]
        self.points = [*zip(x, y, strict=True), *brows, *[(32.0, 32.0)] * 9, *eyes, *[(32.0, 42.0)] * 20]

    def __call__(self, image, options):
        return [tuple((float(x), float(y)) for x, y in self.points)]


def test_the_chin_becomes_skin_and_the_neck_below_the_jaw_stays():
    labels = np.full((64, 64), NECK, np.uint8)
    labels[:30] = SKIN
    labels[40:44, 30:34] = 12
    better = mended(np.zeros((64, 64, 3), np.uint8), labels, Finder(16, 20, 48, 50))  # pyright: ignore[reportArgumentType]
    assert better is not None
    assert (better[30:40, 17:48] == SKIN).all()
    assert (better[52:] == NECK).all()
    assert (better[40:44, 30:34] == 12).all()
    assert (better[35, :15] == NECK).all()


def test_a_portrait_without_a_face_in_its_middle_is_left_out():
    finder = Finder(16, 20, 48, 50)
    finder.points = [(x + 40, y) for x, y in finder.points]
    assert mended(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), finder) is None  # pyright: ignore[reportArgumentType]


def test_classes_are_indices_of_the_known_ids():
    assert class_indices(np.array([STUDIO_IDS], np.uint8))[0].tolist() == list(range(len(STUDIO_IDS)))


def test_faces_and_labels_move_together():
    """A bright square labelled 1 before a dark ground labelled 2: after every draw bright is 1."""
    faces, labels = torch.full((8, 3, 64, 64), -0.6), torch.full((8, 64, 64), 2, dtype=torch.uint8)
    faces[:, :, 16:40, 10:30], labels[:, 16:40, 10:30] = 0.6, 1
    moved, classes = augmented(faces, labels, torch.Generator().manual_seed(0))
    assert moved.abs().max() <= 1
    for face, known in zip(moved.mean(1), classes, strict=True):
        middle = (face[known == 1].mean() + face[known == 2].mean()) / 2
        assert ((face > middle) == (known == 1)).float().mean() > 0.97
    assert (classes[0] == 1).nonzero().tolist() != (classes[1] == 1).nonzero().tolist()


def test_scores_of_a_known_confusion():
    confusion = torch.eye(len(STUDIO_IDS), dtype=torch.long) * 10
    assert scores(confusion)["mean_iou"] == 1
    confusion[0, 1] = 10  # background taken for skin
    assert scores(confusion)["mask_iou"] == pytest.approx(90 / 100)


def test_every_portrait_is_seen_before_one_is_seen_again():
    steps = list(batches(40, 5, torch.Generator().manual_seed(0)))
    assert [len(step) for step in steps] == [16] * 5
    assert sorted([index for step in steps for index in step][:40]) == list(range(40))
