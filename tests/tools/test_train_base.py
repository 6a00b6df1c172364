"""The training of the studio base on tiny networks: its states go on exactly, its encoder means what it says."""

import copy
from pathlib import Path

import pytest
import torch

from refacer.files import encode_png
from refacer.images.pixels import rgb_from_tensor
from refacer.networks.stylegan2.ops import setup_filter, upsample2d
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.training.dataset import FaceDataset
from refacer.weights.bases import Base, fresh_networks
from tools.studio import encoder
from tools.studio.encoder import Code, Encoder, Likeness
from tools.studio.train_base import BaseTrainer

SIZES = NetworkOptions(16, channel_base=64, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1)
OPTIONS = FinetuneOptions(batch=4, kimg=1, gamma=0.1, freeze=False)


@pytest.fixture
def data(tmp_path: Path) -> FaceDataset:
    draw = torch.Generator().manual_seed(0)
    for name in range(4):
        face = torch.rand(1, 3, 16, 16, generator=draw) * 2 - 1
        (tmp_path / f"{name}.png").write_bytes(encode_png(rgb_from_tensor(face), None))
    return FaceDataset([tmp_path], 16)


def test_divergence_is_that_of_two_normal_distributions() -> None:
    exact = Code(torch.zeros(2, 5), torch.zeros(2, 5), torch.zeros(2, 1, 1))
    assert torch.equal(exact.divergence(), torch.zeros(2))
    mean, logvar = torch.randn(3, 5), torch.randn(3, 5)
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(mean, (logvar / 2).exp()), normal(0.0, 1.0)).sum(1)
    assert torch.allclose(Code(mean, logvar, torch.zeros(3, 1, 1)).divergence(), wanted, atol=1e-5)


def test_a_fresh_encoder_adds_no_offset() -> None:
    code = Encoder(8, 6, 8)(torch.rand(2, 3, 16, 16))
    assert code.mean.shape == code.logvar.shape == (2, 8)
    assert torch.equal(code.offsets, torch.zeros(2, 6, 8))


def test_likeness_looks_at_pieces_of_large_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "FEATURES_PX", 32)
    likeness, draw = Likeness(torch.device("cpu")), torch.Generator().manual_seed(0)
    face = torch.rand(1, 3, 64, 64, generator=draw) * 2 - 1
    assert float(likeness.perceptual(face, face, draw)) == 0
    checkers = face + 0.5 * (-1) ** (torch.arange(64)[:, None] + torch.arange(64))  # unseen at half the size
    halved = likeness._distance(face, checkers)
    assert float(likeness.perceptual(face, checkers, draw)) > 2 * float(halved)


def test_a_saved_state_goes_on(data: FaceDataset) -> None:
    trainer = BaseTrainer(data, SIZES, OPTIONS, reconstruct_kimg=0.004)
    before = trainer.generator.synthesis.state_dict()["b4.const"].clone()
    trainer.step()  # reconstruction alone
    assert not torch.equal(trainer.generator.synthesis.state_dict()["b4.const"], before)
    verdict = trainer.discriminator.state_dict()["b4.out.weight"].clone()
    trainer.step()  # both
    assert not torch.equal(trainer.discriminator.state_dict()["b4.out.weight"], verdict)
    again = BaseTrainer(data, SIZES, OPTIONS, reconstruct_kimg=0)
    again.load_state_dict(copy.deepcopy(trainer.state_dict()))
    assert (again.images_seen, again.reconstruct) == (8, 4)
    trainer.draw.manual_seed(8)
    for one in (trainer, again):
        one.step()
    for name, tensor in trainer.ema.state_dict().items():
        assert torch.equal(tensor, again.ema.state_dict()[name]), name


def test_a_run_starts_from_a_smaller_one(data: FaceDataset, tmp_path: Path) -> None:
    small = BaseTrainer(data, SIZES, OPTIONS, 0)
    small.step()
    sizes = NetworkOptions(32, channel_base=64, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1)
    large = BaseTrainer(FaceDataset([tmp_path], 32), sizes, OPTIONS, 0)
    large.start_from(small.state_dict())
    z = torch.randn(2, 8)
    drawn = [g.synthesis(g.mapping(z), noise_mode="none") for g in (small.ema, large.ema)]
    assert torch.allclose(drawn[1], upsample2d(drawn[0], setup_filter()), atol=1e-4)
    assert torch.equal(large.generator.mapping.w_avg, small.ema.mapping.w_avg)


def test_a_new_encoder_learns_alone_at_first(data: FaceDataset) -> None:
    torch.manual_seed(5)
    generator, discriminator = fresh_networks(SIZES)
    base = Base(generator, discriminator, "", "CC0-1.0", "yes", None)
    trainer = BaseTrainer(data, SIZES, OPTIONS, 0, encode_kimg=0.004)
    trainer.start_from_base(base)
    encoder = copy.deepcopy(trainer.encoder.state_dict())
    trainer.step()
    assert any(not torch.equal(tensor, encoder[name]) for name, tensor in trainer.encoder.state_dict().items())
    for name, tensor in generator.state_dict().items():
        assert torch.equal(trainer.generator.state_dict()[name], tensor), name
    verdict = discriminator.state_dict()["b4.out.weight"]
    assert torch.equal(trainer.discriminator.state_dict()["b4.out.weight"], verdict)
    trainer.step()
    assert not torch.equal(trainer.generator.mapping.w_avg, generator.mapping.w_avg)
    assert not torch.equal(trainer.discriminator.state_dict()["b4.out.weight"], verdict)
