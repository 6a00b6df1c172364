"""What a rule decides in the one loop: codes, what is frozen, who judges, which losses."""

import copy

import pytest
import torch
from torch import Tensor

from refacer.finetuning.rules.agile import AgileRule
from refacer.options import FinetuneOptions
from refacer.training import losses
from refacer.training.directions import DIRECTED, direction_loss
from refacer.training.rules import PAPER, Rule
from refacer.training.trainer import Trainer

PLAIN = {"batch": 4, "aug": "none", "sketch_weight": 0.0, "color_weight": 0.0}


class Mean:
    """A compass of two numbers: how bright a picture is, and how red."""

    direction = torch.tensor([0.0, 1.0])

    def embed(self, images: Tensor) -> Tensor:
        return torch.stack([images.mean((1, 2, 3)) + 2, images[:, 0].mean((1, 2)) - images.mean((1, 2, 3))], 1)


def with_rule(trainer: Trainer, rule: Rule, *, pictures: bool = True, **options: object) -> Trainer:
    made = FinetuneOptions(**{**PLAIN, **options})  # type: ignore[arg-type]
    return Trainer(trainer.nets, trainer.data if pictures else None, made, trainer.device, None, rule)


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def states(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    nets = trainer.nets
    return copy.deepcopy(nets.generator.state_dict()), copy.deepcopy(nets.discriminator.state_dict())


def test_agile_trains_to_rgb_and_the_deep_blocks_alone(make_trainer):
    rule = Rule(AgileRule.rule.terms, frozen=AgileRule.rule.frozen, hinge=True, d_blocks=1, layered=True)
    trainer = with_rule(make_trainer(), rule)
    before = states(trainer)
    trainer.step()
    generator, judge = (moved(old, new) for old, new in zip(before, states(trainer), strict=True))
    assert not [name for name in generator if name.startswith("mapping.")]
    assert [name for name in generator if ".torgb." in name]
    assert {name.split(".")[0] for name in judge} == {"b8", "b4"}
    assert trainer.statistics.take()["loss/similarity"] >= 0
    assert set(trainer.gradient_norms(2)) == {"adversarial", "similarity"}


def test_the_paper_freezes_to_rgb_and_trains_all_of_the_discriminator(make_trainer):
    trainer = with_rule(make_trainer(), PAPER)
    before = states(trainer)
    trainer.step()
    generator, judge = (moved(old, new) for old, new in zip(before, states(trainer), strict=True))
    assert not [name for name in generator if name.startswith("mapping.") or ".torgb." in name]
    assert {name.split(".")[0] for name in judge} == {"b32", "b16", "b8", "b4"}


def test_layered_codes_are_of_a_z_each(make_trainer):
    trainer = with_rule(make_trainer(), AgileRule.rule)
    trainer.random.start("generator", 0, 0)
    ws = trainer.passes.sample_ws(3)
    assert ws.shape == (3, trainer.nets.generator.num_ws, 16)
    distances = torch.cdist(ws.flatten(0, 1), ws.flatten(0, 1))
    assert (distances + torch.eye(len(distances)) > 1e-3).all()


def test_a_direction_needs_no_pictures_and_no_judge(make_trainer):
    trainer = make_trainer()
    trainer.nets.compass = Mean()
    trainer = with_rule(trainer, DIRECTED, pictures=False, lr=0.02, pl_weight=0.0, ema_kimg=0.0)
    before = states(trainer)
    found = []
    for _ in range(12):
        trainer.step()
        found.append(trainer.statistics.take()["loss/direction"])
    generator, judge = (moved(old, new) for old, new in zip(before, states(trainer), strict=True))
    assert generator
    assert not judge
    assert found[-1] < 0.2 * found[0]
    average = trainer.nets.generator_ema.state_dict()
    assert all(torch.equal(average[name], tensor) for name, tensor in trainer.nets.generator.state_dict().items())
    assert set(trainer.gradient_norms(2)) == {"direction"}


def test_the_loss_is_zero_along_the_direction_and_two_against_it():
    start = torch.zeros(1, 3, 4, 4)
    redder, bluer = start.clone(), start.clone()
    redder[:, 0], redder[:, 2] = 0.3, -0.3
    bluer[:, 0], bluer[:, 2] = -0.3, 0.3
    values = [float(direction_loss(start, moved_to, Mean())) for moved_to in (redder, bluer)]
    assert values == [pytest.approx(0, abs=0.02), pytest.approx(2, abs=0.02)]


def test_a_rule_without_judge_goes_on_exactly(make_trainer):
    def trained(steps: int, state: dict | None = None) -> Trainer:
        trainer = make_trainer()
        trainer.nets.compass = Mean()
        trainer = with_rule(trainer, DIRECTED, pictures=False, pl_weight=0.0)
        if state is not None:
            trainer.load_state_dict(state)
        for _ in range(steps):
            trainer.step()
        return trainer

    whole = trained(4).nets.generator.state_dict()
    resumed = trained(2, copy.deepcopy(trained(2).state_dict())).nets.generator.state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in resumed.items())


def test_hinge_losses():
    real, fake = torch.tensor([[2.0], [0.5]]), torch.tensor([[-3.0], [0.5]])
    assert losses.hinge_discriminator_loss(real, fake).tolist() == [0.0, 2.0]
    assert losses.hinge_generator_loss(fake).tolist() == [3.0, -0.5]
