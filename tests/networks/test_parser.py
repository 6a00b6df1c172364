import pytest
import torch
from torch import Tensor, nn

from refacer.networks.parser import (
    ABSENT_LOGIT,
    CLASS_IDS,
    PARSENET_IDS,
    STUDIO_IDS,
    BiSeNetParser,
    ParseNetParser,
    StudioParser,
)

BISENET_NAMES = (
    "bg skin l_brow r_brow l_eye r_eye eye_g l_ear r_ear ear_r nose mouth u_lip l_lip neck neck_l cloth hair hat"
)
PARSENET_NAMES = (
    "bg skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l neck cloth"
)


class Recorder(nn.Module):
    """Stands in for a published network: keeps its input, answers with planted logits at 512²."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = logits
        self.seen = torch.empty(0)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = pictures
        return self.logits.expand(len(pictures), -1, 512, 512), pictures


def test_every_id_has_one_name():
    assert sorted(identity for ids in CLASS_IDS.values() for identity in ids) == list(range(19))


def test_bisenet_sees_imagenets_normalisation_at_512():
    parser = BiSeNetParser()
    parser.network = recorder = Recorder(torch.arange(19.0)[None, :, None, None])
    logits = parser(torch.stack([torch.ones(3, 64, 64), -torch.ones(3, 64, 64)]))
    assert logits.shape == (2, 19, 64, 64)
    assert recorder.seen.shape == (2, 3, 512, 512)
    assert recorder.seen[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-3)
    assert recorder.seen[1, :, 0, 0].tolist() == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-3)


def test_bisenet_is_built_without_weights_and_filled_strictly():
    state = BiSeNetParser().network.state_dict()
    parser = BiSeNetParser(state)
    assert not parser.training
    assert parser(torch.zeros(1, 3, 32, 32)).shape == (1, 19, 32, 32)
    state.pop("conv_out.conv_out.weight")
    with pytest.raises(RuntimeError, match="conv_out"):
        BiSeNetParser(state)


def test_parsenets_classes_come_in_bisenets_order():
    names = PARSENET_NAMES.split()
    assert tuple(names.index(name) for name in BISENET_NAMES.split()) == PARSENET_IDS


def test_parsenet_sees_the_face_as_it_is_and_its_logits_are_reordered():
    parser = ParseNetParser()
    parser.network = recorder = Recorder(torch.arange(19.0)[None, :, None, None])
    logits = parser(torch.full((1, 3, 16, 16), 0.25))
    assert logits[0, :, 3, 3].tolist() == pytest.approx([float(identity) for identity in PARSENET_IDS])
    assert torch.allclose(recorder.seen, torch.full((1, 3, 512, 512), 0.25))


@pytest.fixture
def studio() -> StudioParser:
    torch.manual_seed(0)
    return StudioParser(channels=[8, 12], image_px=32, patch_px=4).eval()


@pytest.mark.parametrize("size", [16, 32, 64])
def test_studio_answers_at_the_faces_size_with_the_classes_it_knows(studio: StudioParser, size: int):
    logits = studio(torch.rand(2, 3, size, size) * 2 - 1)
    assert logits.shape == (2, 19, size, size)
    assert set(logits.argmax(1).unique().tolist()) <= set(STUDIO_IDS)
    absent = [identity for identity in range(19) if identity not in STUDIO_IDS]
    assert torch.allclose(logits[:, absent], torch.tensor(ABSENT_LOGIT))


def test_studio_can_learn(studio: StudioParser):
    """A few steps tell a bright square from a dark ground: gradients reach every parameter."""
    face = -torch.ones(1, 3, 32, 32)
    face[:, :, 8:24, 8:24] = 1
    wanted = (face[:, 0] > 0).long()
    optimizer = torch.optim.Adam(studio.train().parameters(), 0.01)
    for _ in range(40):
        loss = nn.functional.cross_entropy(studio.studio_logits(face), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in studio.parameters())
    assert (studio.eval().studio_logits(face).argmax(1) == wanted).float().mean() > 0.95


def test_the_default_size_is_what_was_promised():
    assert 0.5e6 < sum(parameter.numel() for parameter in StudioParser().parameters()) < 1e6
