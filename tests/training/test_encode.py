"""Training encoders: they learn a generator's own codes, a resumed run equals an unbroken one."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from refacer.errors import UsageError
from refacer.networks.encoders import LOOK_ONCE, EncoderConfig, FaceEncoder
from refacer.networks.hyperstyle import HyperStyle, hyper_config_for
from refacer.networks.linear_styles import LinearStyles
from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.options import EncoderOptions, PairEncoderName, TrunkName
from refacer.training.dataset import FaceDataset
from refacer.training.encode import EncoderTrainer
from refacer.training.hyper import HyperTrainer
from refacer.training.latents import POOL, CodePool, of_random_layers
from refacer.training.optimizers import Ranger
from refacer.training.processes import Processes
from refacer.training.reconstruct import Judges
from refacer.weights.published import with_trunk
from tests.tiny import tiny_discriminator, tiny_generator

OPTIONS = EncoderOptions(kind="psp", batch=8, kimg=0.32, optimizer="adam", lr=3e-3, samples=1.0)
CPU = torch.device("cpu")
WIDE = {"img_resolution": 32, "channel_base": 256, "channel_max": 8}


def make_trainer(options: EncoderOptions = OPTIONS, pictures: Path | None = None) -> EncoderTrainer:
    """A trainer over tiny networks, the same at each call."""
    generator = tiny_generator(frozen=True, noise=0.02, **WIDE)
    perceptual = DiscriminatorFeatures(tiny_discriminator(frozen=True, **WIDE))
    torch.manual_seed(0)
    assert options.kind != "hyperstyle"
    config = EncoderConfig(
        options.kind, generator.num_ws, 8, 32, (1, 1, 1, 1), (8, 8, 8, 8), 8,
        passes=1 if options.kind in LOOK_ONCE else options.looks or 2, trunk=options.trunk,
    )  # fmt: skip
    encoder = with_trunk(FaceEncoder(config))
    encoder.silence()
    faces = None if pictures is None else FaceDataset([pictures], 32, seed=options.seed)
    return EncoderTrainer(encoder, generator, faces, Judges(perceptual, 1.0), options, CPU)


@pytest.mark.parametrize("trunk", ["own", "efficientnet-lite0"])
@pytest.mark.parametrize("kind", ["psp", "restyle-psp", "e4e", "linear"])
def test_it_learns_the_generator_s_own_codes(kind: PairEncoderName, trunk: TrunkName):
    """Its first answer is the average code; the loss of codes is known exactly there."""
    trainer, losses = make_trainer(replace(OPTIONS, kind=kind, trunk=trunk, adversarial_weight=0.0)), []
    for _ in range(40):
        trainer.step()
        losses.append(trainer.statistics.take())
    first, last = ({name: sum(one[name] for one in part) for name in part[0]} for part in (losses[:4], losses[-4:]))
    for name in ("loss/code", "loss/l2", "loss/perceptual"):
        assert last[name] < 0.8 * first[name], name


def make_hyper_trainer(options: EncoderOptions, pictures: Path | None = None) -> HyperTrainer:
    """HyperStyle's trainer over the same networks."""
    usual = make_trainer(replace(options, kind="psp"), pictures)
    config = hyper_config_for(usual.generator.config, "rendering", full=False, trunk=options.trunk)
    network = with_trunk(HyperStyle(config))
    network.latent_avg.copy_(usual.generator.mapping.w_avg.expand_as(network.latent_avg))
    network.silence()
    return HyperTrainer(network, usual.generator, usual.faces, usual.judges, options, CPU)


@pytest.mark.parametrize("trunk", ["own", "efficientnet-lite0"])
def test_hyperstyle_learns_codes_first_and_then_how_weights_change(trunk: TrunkName):
    options = replace(OPTIONS, kind="hyperstyle", trunk=trunk, w_share=0.5, lr=1e-3)
    trainer, losses = make_hyper_trainer(options), []
    parts = {name: getattr(trainer.network, name) for name in ("encoder", "hypernet")}
    for name, other in (("encoder", "hypernet"), ("hypernet", "encoder")):
        before = {part: [value.clone() for value in module.parameters()] for part, module in parts.items()}
        for _ in range(20):
            assert trainer.learns_codes == (name == "encoder")
            trainer.step()
            losses.append(trainer.statistics.take()["loss/l2"])
        assert any(not torch.equal(a, b) for a, b in zip(before[name], parts[name].parameters(), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(before[other], parts[other].parameters(), strict=True))
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_a_resumed_hyperstyle_goes_on_exactly(pictures: Path):
    options = replace(OPTIONS, kind="hyperstyle", w_share=0.1, samples=0.5, optimizer="ranger")
    whole, resumed = (make_hyper_trainer(options, pictures) for _ in range(2))
    for _ in range(7):
        whole.step()
        if whole.iteration == 3:
            resumed.load_state_dict(torch.load(_saved(whole), weights_only=True))
    for _ in range(4):
        resumed.step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def _saved(trainer: HyperTrainer) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(trainer.state_dict(), file)
    file.seek(0)
    return file


@pytest.mark.parametrize("options", [
    replace(OPTIONS, kind="e4e", samples=0.5, jitter=0.05, prior_weight=0.1, deltas_from=0.0, d_interval=2),
    replace(OPTIONS, kind="restyle-e4e", optimizer="ranger", rate_falls=True),
    replace(OPTIONS, kind="linear", samples=0.5),
])  # fmt: skip
def test_a_resumed_trainer_goes_on_exactly(options: EncoderOptions, pictures: Path):
    whole = make_trainer(options, pictures)
    for _ in range(7):
        whole.step()
    broken = make_trainer(options, pictures)
    for _ in range(3):
        broken.step()
    again = make_trainer(replace(options), pictures)
    again.load_state_dict(broken.state_dict())
    for _ in range(4):
        again.step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    assert whole.statistics.take() == again.statistics.take()


def test_e4e_lets_its_codes_in_one_by_one():
    trainer = make_trainer(replace(OPTIONS, kind="e4e", deltas_from=0.25, deltas_every=0.1))
    counts = []
    while trainer.images_seen < 320:
        counts.append(trainer.deltas)
        trainer.step()
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts.index(1) == 10
    assert counts[-1] == trainer.network.config.num_ws - 1
    assert {"loss/delta", "loss/adversarial", "loss/discriminator"} <= trainer.statistics.take().keys()


def test_given_faces_and_own_pictures_share_a_batch(pictures):
    trainer = make_trainer(replace(OPTIONS, samples=0.25), pictures)
    examples = trainer._examples()
    assert (len(examples.faces), len(examples.codes)) == (8, 2)
    assert len(make_trainer(replace(OPTIONS, samples=0.0), pictures)._examples().codes) == 0
    with pytest.raises(UsageError, match="3 processes"):
        EncoderTrainer(
            trainer.network, trainer.generator, None, trainer.judges, OPTIONS, CPU, Processes(rank=0, world=3)
        )


def test_a_linear_encoder_keeps_the_same_features_in_every_process(pictures):
    options = replace(OPTIONS, kind="linear", samples=0.5)
    alone, second = make_trainer(options, pictures), make_trainer(options, pictures)
    second.processes = Processes(rank=1, world=1)
    for trainer in (alone, second):
        assert isinstance(trainer.network.encoder, LinearStyles)
        before = trainer.network.encoder.kept.weight.clone()
        trainer._turn(trainer.network.encoder)
        assert not torch.equal(before, trainer.network.encoder.kept.weight)
    assert all(map(torch.equal, alone.network.state_dict().values(), second.network.state_dict().values()))


def test_the_generator_and_the_average_stay_as_they_are(pictures):
    trainer = make_trainer(pictures=pictures)
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    average = trainer.network.latent_avg.clone()
    trainer.step()
    assert all(torch.equal(value, before[name]) for name, value in trainer.generator.state_dict().items())
    assert torch.equal(trainer.network.latent_avg, average)


def test_a_pool_gives_back_older_codes():
    random = torch.Generator().manual_seed(0)
    pool = CodePool(1, CPU)
    assert torch.equal(pool.query(torch.zeros(POOL, 1), random), torch.zeros(POOL, 1))
    mixed = pool.query(torch.ones(40, 1), random)
    assert 0.2 < float(mixed.mean()) < 0.8
    assert len(pool.kept) == POOL
    assert float(pool.kept.sum()) == 40 - float(mixed.sum())  # what was swapped in took the place of what came out


def test_one_layer_of_each_code():
    codes = torch.arange(6.0).view(1, 6, 1).expand(200, 6, 1)
    found = of_random_layers(codes, torch.Generator().manual_seed(0))
    assert set(found.flatten().tolist()) == set(range(6))


def test_ranger_goes_half_the_way_back():
    """Every sixth step ends halfway between where the fast weights are and where the slow ones were."""
    parameter = nn.Parameter(torch.tensor([[1.0, -1.0]]))
    fast = nn.Parameter(parameter.detach().clone())
    ranger, radam = Ranger([parameter], 0.1), torch.optim.RAdam([fast], lr=0.1, betas=Ranger.BETAS, eps=Ranger.EPS)
    for _ in range(6):
        for one in (parameter, fast):
            one.grad = torch.tensor([[3.0, 1.0]])
        assert fast.grad is not None
        fast.grad -= fast.grad.mean(1, keepdim=True)
        ranger.step()
        radam.step()
    torch.testing.assert_close(parameter.detach(), torch.lerp(torch.tensor([[1.0, -1.0]]), fast.detach(), 0.5))
