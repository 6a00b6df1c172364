"""The mosaic shows both eyes and the mouth, each where it is expected, and gradients find their way back."""

import torch

from refacer.networks.face_parts import parts
from tools.studio.parts_mosaic import mosaic


def test_eyes_stand_over_the_mouth():
    faces = torch.rand(2, 3, 64, 64)
    seen = mosaic(faces)
    assert seen.shape == (2, 3, 32, 32)
    left, right, mouth = parts(faces).split(2)
    assert torch.equal(seen[..., :16, :16], left)
    assert torch.equal(seen[..., :16, 16:], right)
    assert torch.equal(seen[..., 16:, :16], mouth)
    assert (seen[..., 16:, 16:] == 0).all()


def test_a_face_is_moved_by_what_is_seen_of_it():
    face = torch.rand(1, 3, 64, 64, requires_grad=True)
    mosaic(face).sum().backward()
    assert face.grad is not None
    assert (face.grad[..., :4] == 0).all(), "the picture's side is no part of it"
    assert face.grad.count_nonzero() > 0
