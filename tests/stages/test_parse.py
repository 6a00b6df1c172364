import pytest
import torch
from torch import Tensor

from refacer.errors import UsageError
from refacer.networks.parser import CLASS_IDS
from refacer.options import PASTED_CLASSES
from refacer.stages.parse import mask_from_labels, parse

SKIN, EYE, EARRING, NECK, CLOTH, HAIR = 1, 4, 9, 14, 16, 17


@pytest.fixture
def labels() -> Tensor:
    """A face (skin with an eye, hair above, neck and cloth below) in 256² of background."""
    image = torch.zeros(1, 256, 256, dtype=torch.uint8)
    image[:, 40:80, 60:200] = HAIR
    image[:, 80:190, 70:190] = SKIN
    image[:, 110:120, 90:110] = EYE
    image[:, 190:230, 100:160] = NECK
    image[:, 230:, 30:220] = CLOTH
    return image


def test_labels_are_the_parsers_best_class():
    logits = torch.zeros(2, 19, 8, 8)
    logits[0, 17] = 1
    logits[1, 3, :4] = 1
    found = parse(torch.zeros(2, 3, 8, 8), lambda faces: logits)
    assert found.dtype == torch.uint8
    assert found[0].unique().tolist() == [17]
    assert found[1, 0, 0] == 3


def test_the_mask_is_the_union_of_the_nine_parts(labels: Tensor):
    mask = mask_from_labels(labels)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, (labels == SKIN) | (labels == EYE) | (labels == HAIR))


def test_every_part_can_be_chosen(labels: Tensor):
    assert torch.equal(mask_from_labels(labels, ["hair"]), labels == HAIR)
    assert torch.equal(mask_from_labels(labels, ["skin"]), labels == SKIN)  # the eye is no mistaken hole
    assert not mask_from_labels(labels, ["hat"]).any()


@pytest.mark.parametrize("name", PASTED_CLASSES)
def test_both_sides_of_a_part_count(name: str):
    for identity in CLASS_IDS[name]:
        centre = torch.zeros(1, 64, 64, dtype=torch.uint8)
        centre[:, 20:40, 20:40] = identity
        assert mask_from_labels(centre, [name]).sum() == 400


def test_islands_away_from_the_face_are_dropped(labels: Tensor):
    clean = mask_from_labels(labels)
    labels[:, 10:30, 5:40] = HAIR
    labels[:, 240:250, 240:250] = SKIN
    assert torch.equal(mask_from_labels(labels), clean)


def test_an_island_next_to_the_face_stays(labels: Tensor):
    labels[:, 90:110, 192:200] = HAIR  # two pixels beside the cheek
    assert mask_from_labels(labels)[0, 100, 196]


def test_small_holes_are_filled_and_large_ones_kept(labels: Tensor):
    labels[:, 150:155, 120:125] = 0
    labels[:, 50:54, 100:104] = CLOTH
    labels[:, 140:170, 80:110] = 0
    mask = mask_from_labels(labels)
    assert mask[0, 152, 122]
    assert mask[0, 52, 102]
    assert not mask[0, 155, 95]


def test_an_earring_is_no_mistake(labels: Tensor):
    labels[:, 150:155, 180:185] = EARRING
    assert not mask_from_labels(labels)[0, 152, 182]


def test_a_bay_at_the_border_is_no_hole(labels: Tensor):
    labels[:, 80:190, 70:256] = SKIN
    labels[:, 100:103, 200:256] = 0
    assert not mask_from_labels(labels)[0, 101, 250]


def test_without_anything_in_the_centre_nothing_is_dropped():
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, :5, :5] = HAIR
    assert mask_from_labels(labels).sum() == 25


def test_faces_of_a_batch_do_not_mix(labels: Tensor):
    island = labels.clone()
    island[:, 10:30, 5:40] = HAIR
    both = mask_from_labels(torch.cat([island, labels, torch.zeros_like(labels)]))
    assert torch.equal(both[0], both[1])
    assert not both[2].any()


@pytest.mark.parametrize("size", [64, 100, 512, 1024])
def test_any_size(size: int):
    labels = torch.zeros(1, size, size, dtype=torch.uint8)
    labels[:, size // 4 : size // 2, size // 4 : size // 2] = SKIN
    assert torch.equal(mask_from_labels(labels), labels == SKIN)


def test_an_unknown_class_is_a_usage_error(labels: Tensor):
    with pytest.raises(UsageError, match="beard"):
        mask_from_labels(labels, ["skin", "beard"])
