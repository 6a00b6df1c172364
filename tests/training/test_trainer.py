"""The loop: what is frozen, what moves, and that a resumed run equals an unbroken one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from refacer.training.trainer import Trainer

READS_BACK = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}


def _is_frozen(name: str) -> bool:
    return name.startswith("mapping.") or ".torgb." in name


def test_mapping_and_to_rgb_stay_bit_identical_and_the_rest_moves(make_trainer):
    trainer: Trainer = make_trainer()
    assert trainer.nets.real is not None
    before = {name: tensor.clone() for name, tensor in trainer.nets.real.state_dict().items()}
    for _ in range(2):
        trainer.step()
    for generator in (trainer.nets.generator, trainer.nets.generator_ema):
        for name, parameter in generator.named_parameters():
            assert torch.equal(parameter, before[name]) == _is_frozen(name), name
        assert torch.equal(generator.mapping.w_avg, before["mapping.w_avg"])


def test_the_realistic_generator_and_the_perceptual_network_do_not_change(make_trainer):
    trainer: Trainer = make_trainer()
    real, perceptual = trainer.nets.real, trainer.nets.perceptual
    assert real is not None
    assert isinstance(perceptual, torch.nn.Module)
    before = [p.clone() for p in (*real.parameters(), *perceptual.parameters())]
    trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, (*real.parameters(), *perceptual.parameters()), strict=True))


def test_from_scratch_trains_everything_and_moves_w_avg(make_trainer):
    trainer: Trainer = make_trainer(freeze=False, sketch_weight=0.0, color_weight=0.0)
    before = {name: tensor.clone() for name, tensor in trainer.nets.generator.state_dict().items()}
    for _ in range(2):
        trainer.step()
    after = trainer.nets.generator.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    buffers = {name for name in after if name.endswith(("resample_filter", "noise_const"))}
    assert set(after) - moved == buffers


def test_a_resumed_run_equals_an_unbroken_one(make_trainer):
    options = {"aug_p": 0.3, "jitter": 0.03}
    unbroken: Trainer = make_trainer(**options)
    for _ in range(5):
        unbroken.step()
    first: Trainer = make_trainer(**options)
    for _ in range(3):
        first.step()
    resumed: Trainer = make_trainer(**options)
    resumed.load_state_dict(first.state_dict())
    for _ in range(2):
        resumed.step()
    _assert_same(unbroken.state_dict(), resumed.state_dict(), "state")


def test_p_rises_while_the_discriminator_is_sure_of_the_real_pictures(make_trainer):
    trainer: Trainer = make_trainer(ada_kimg=1.0)
    with torch.no_grad():
        trainer.nets.discriminator.b4.out.bias.fill_(100.0)
    for _ in range(4):
        trainer.step()
    assert float(trainer.augment.p) == pytest.approx(4 * 4 / 1000)


def test_regularisers_run_at_their_intervals(make_trainer):
    trainer: Trainer = make_trainer(r1_interval=3, pl_interval=2)
    seen = {"loss/r1": [], "loss/path_length": []}
    for _ in range(6):
        trainer.step()
        means = trainer.statistics.take()
        for name, flags in seen.items():
            flags.append(name in means)
    assert seen["loss/r1"] == [True, False, False, True, False, False]
    assert seen["loss/path_length"] == [True, False, True, False, True, False]


def test_rounds_see_the_same_pictures_as_one_batch(make_trainer):
    whole: Trainer = make_trainer()
    halves: Trainer = make_trainer(accumulate=2)
    together = whole._real_images(0, 4)
    apart = torch.cat([halves._real_images(0, 2), halves._real_images(2, 2)])
    assert torch.equal(together, apart)
    halves.step()
    assert halves.images_seen == 4


def test_both_identity_losses_reach_the_generator(make_trainer):
    trainer: Trainer = make_trainer()
    for _ in range(2):
        trainer.step()
    norms = trainer.gradient_norms()
    assert set(norms) == {"adversarial", "sketch", "color"}
    assert all(value > 0 for value in norms.values())


def _assert_same(a: object, b: object, place: str) -> None:
    if isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys(), place
        for key in a:
            _assert_same(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list) and isinstance(b, list):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            _assert_same(x, y, f"{place}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b), place
    else:
        assert a == b, place


class _ReadingBack(TorchDispatchMode):
    """Refuses every operation after which the host waits for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func._schema.name not in READS_BACK, func
        return func(*args, **(kwargs or {}))


def test_nothing_in_an_iteration_waits_for_the_device(make_trainer):
    trainer: Trainer = make_trainer(aug_p=0.5, jitter=0.03, ada_interval=1)
    trainer.step()
    with _ReadingBack():
        trainer.step()


def test_frozen_branches_keep_no_graph_and_follow_the_precision(make_trainer):
    trainer: Trainer = make_trainer(precision="bfloat16")
    seen = []

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 1, 1).requires_grad_(False)

        def forward(self, images):
            out = self.layer(images)
            seen.append((out.requires_grad, out.dtype))
            return out

    trainer.nets.sketch = Watching()
    trainer.step()
    assert seen == [(False, torch.bfloat16), (True, torch.bfloat16)]
    trainer.passes.dtype = torch.float32
    trainer.step()
    assert seen[2:] == [(False, torch.float32), (True, torch.float32)]
