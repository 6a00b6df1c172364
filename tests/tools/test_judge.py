"""The judge sees the face alone, and both sets through the same degradations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refacer.evaluation.networks import load_judge
from refacer.networks import judge as judging
from refacer.networks.judge import JUDGE_PX, Judge, alone, degraded, face_mask, photo_logits
from tools.studio import train_judge
from tools.studio.train_judge import JUDGE_FILE


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def labels() -> torch.Tensor:
    """Hair around a square of skin with a nose, on background, neck below: (1, 64, 64)."""
    ids = np.zeros((64, 64), np.uint8)
    ids[12:52, 12:52] = 17
    ids[20:44, 20:44] = 1
    ids[30:36, 28:34] = 10
    ids[44:60, 24:40] = 14
    return torch.from_numpy(ids)[None]


def _judge() -> Judge:
    torch.manual_seed(0)
    return Judge(channels=(4, 8)).eval().requires_grad_(False)


def test_the_mask_is_skin_brows_eyes_nose_mouth_and_lips(labels):
    ids = torch.arange(19, dtype=torch.uint8).view(1, 1, 19)
    assert face_mask(ids)[0, 0, 0].nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 10, 11, 12, 13]
    assert int(face_mask(labels).sum()) == 24 * 24


def test_what_is_not_face_cannot_sway_the_judge(labels):
    faces, mask = torch.rand(1, 3, 64, 64, generator=_seeded()) * 2 - 1, face_mask(labels)
    edges = torch.nn.functional.max_pool2d(mask.float(), 5, 1, 2) > 0  # resizing to 128² mixes neighbours
    elsewhere = torch.where(edges, faces, torch.rand(faces.shape, generator=_seeded(1)) * 2 - 1)
    other_face = torch.where(mask, -faces, faces)
    judge = _judge()
    assert torch.equal(photo_logits(judge, faces, mask), photo_logits(judge, elsewhere, mask))
    assert not torch.equal(photo_logits(judge, faces, mask), photo_logits(judge, other_face, mask))


def test_a_verdict_does_not_depend_on_its_neighbours(labels):
    faces, mask = torch.rand(3, 3, 64, 64, generator=_seeded()) * 2 - 1, face_mask(labels).expand(3, -1, -1, -1)
    judge = _judge()
    together = photo_logits(judge, faces, mask)
    assert torch.allclose(together[1:2], photo_logits(judge, faces[1:2], mask[1:2]), atol=1e-6)


def test_surroundings_take_the_mean_colour():
    face, mask = torch.full((1, 3, 8, 8), -1.0), torch.zeros(1, 1, 8, 8)
    mask[:, :, 2:6, 2:6] = 1
    face[:, 0, 2:6, 2:6] = 0.5
    assert alone(face, mask)[0, :, 0, 0].tolist() == pytest.approx([0.5, -1, -1], abs=1e-5)


def test_degradations_are_random_repeatable_and_keep_the_range():
    face = torch.rand(1, 3, 32, 32, generator=_seeded()).mul(2).sub(1)
    views = degraded(face.expand(4, -1, -1, -1), _seeded(3))
    assert views.shape == (4, 3, 32, 32)
    assert float(views.abs().max()) <= 1
    assert torch.equal(views, degraded(face.expand(4, -1, -1, -1), _seeded(3)))
    assert len({float(view.std()) for view in views}) == 4


def test_blur_hides_grain():
    """Grain on a flat face: after any view's blur, noise and JPEG it is no clearer than the views' own noise."""
    flat, grain = torch.zeros(16, 3, 64, 64), torch.randn(16, 3, 64, 64, generator=_seeded()) * 0.02
    plain, grainy = (degraded(x, _seeded(1)).flatten(1).std(1) for x in (flat, flat + grain))
    assert float((grainy - plain).mean()) < 0.5 * judging.NOISE_SIGMA[1]


def test_training_degrades_both_sets_alike():
    """The same pictures come out whichever set they are said to be of."""
    pictures = torch.rand(6, 3, JUDGE_PX, JUDGE_PX, generator=_seeded()) * 2 - 1
    masks, necks = torch.zeros(2, 6, 1, JUDGE_PX, JUDGE_PX)
    masks[:, :, 30:90, 30:90] = 1
    necks[:, :, 90:, 40:80] = 1
    faces = train_judge.Faces(pictures, masks, necks, torch.tensor([1.0, 1, 1, 0, 0, 0]))
    chosen = torch.tensor([0, 5, 3])
    mine = train_judge.drawn(faces, chosen, _seeded(2))
    other = train_judge.drawn(replace(faces, photo=1 - faces.photo), chosen, _seeded(2))
    assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
    shown = mine[1].sum((1, 2, 3))
    assert bool((shown >= 60 * 60).all())
    assert bool((shown > 60 * 60).any()), "some see a chin"


def test_the_judge_learns_what_tells_two_sets_apart():
    """Stripes against plain skin, in a few steps."""
    torch.manual_seed(0)
    pictures = torch.zeros(8, 3, JUDGE_PX, JUDGE_PX)
    pictures[4:, :, :, ::16] = pictures[4:, :, :, 1::16] = 0.9
    inside = torch.ones(8, 1, JUDGE_PX, JUDGE_PX)
    faces = train_judge.Faces(pictures, inside, torch.zeros_like(inside), torch.tensor([1.0] * 4 + [0.0] * 4))
    judge = Judge(channels=(8, 8))
    losses = list(train_judge.train(judge, faces, epochs=80, seed=0))
    assert len(losses) == 20
    assert losses[-1] < losses[0]
    logits = judging.verdicts(judge.eval(), pictures, inside)
    assert float(logits[:4].min()) > float(logits[4:].max())


def test_the_committed_judge_is_small_and_reads():
    assert JUDGE_FILE.stat().st_size < 1_000_000
    judge = load_judge(JUDGE_FILE)
    assert sum(parameter.numel() for parameter in judge.parameters()) <= 300_000
    assert judge(torch.zeros(1, 3, JUDGE_PX, JUDGE_PX), torch.ones(1, 1, JUDGE_PX, JUDGE_PX)).shape == (1,)
