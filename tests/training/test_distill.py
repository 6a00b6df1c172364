"""Distillation: it learns the pair's change, a resumed run equals an unbroken one, and it stops when told."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from refacer.networks.stylegan2.networks import Generator, GeneratorConfig
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.options import DistillOptions, DisturbOptions
from refacer.training.dataset import FaceDataset
from refacer.training.distill import Distiller
from refacer.training.finetune import Finished, Stopped, Tick, train
from refacer.training.translations import Translations, disturbed, drawn, fine_detail

OPTIONS = DistillOptions(batch=4, kimg=0.08, block=8, uses=2, tick_kimg=0.02, adversarial_kimg=0.008, warmup_kimg=0.004)
CPU = torch.device("cpu")


class Edges(nn.Module):
    """Stands in for the discriminator's trunk."""

    def taps(self, images: Tensor) -> list[Tensor]:
        steps = torch.cat([images, images.roll(1, 3) - images], 1)
        return [nn.functional.avg_pool2d(steps, 2**level) for level in range(1, 5)]


def make_generator(seed: int) -> Generator:
    torch.manual_seed(seed)
    config = GeneratorConfig(img_resolution=32, channel_base=128, channel_max=8, z_dim=8, w_dim=8, mapping_layers=2)
    return Generator(config).eval().requires_grad_(False)


class Warmer(nn.Module):
    """A generator's other look: the same picture, darker and redder."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.inner = generator

    def synthesis(self, ws: Tensor, **settings: object) -> Tensor:
        picture = self.inner.synthesis(ws, **settings).clamp(-1, 1)
        return picture * 0.6 + torch.tensor([0.1, -0.2, -0.2]).view(1, 3, 1, 1)


def make_distiller(pictures: Path, options: DistillOptions = OPTIONS) -> Distiller:
    rendering = make_generator(0)
    torch.manual_seed(1)
    translator = Translator(TranslatorConfig(input_px=32, channels=(4, 6, 8, 8)))
    data = FaceDataset([pictures], 32)
    real = cast(Generator, Warmer(rendering))
    return Distiller(translator, rendering, real, data, data, Edges(), options, CPU)


def test_it_learns_the_change_of_the_pair(pictures: Path):
    options = replace(OPTIONS, kimg=0.4, lr=5e-3, adversarial_weight=0.0, ema_kimg=0.0)
    distiller = make_distiller(pictures, options)
    for _ in range(100):
        distiller.step()
        if distiller.iteration == 10:
            distiller.statistics.take()
    means = distiller.statistics.take()
    assert means["loss/likeness"] < 0.8 * means["change"]


def test_a_resumed_run_equals_an_unbroken_one(pictures: Path):
    unbroken, first, resumed = (make_distiller(pictures) for _ in range(3))
    for _ in range(9):
        unbroken.step()
    for _ in range(5):
        first.step()
    resumed.load_state_dict(first.state_dict())
    for _ in range(4):
        resumed.step()
    assert resumed.images_seen == unbroken.images_seen == 36
    for name in ("translator", "average", "discriminator"):
        expected, found = getattr(unbroken, name).state_dict(), getattr(resumed, name).state_dict()
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name
    assert resumed.statistics.take() == unbroken.statistics.take()


def test_the_generators_stay_and_the_discriminator_learns_from_its_start_on(pictures: Path):
    distiller = make_distiller(pictures)
    before = [p.clone() for p in distiller.rendering.parameters()]
    kernels = [p for p in distiller.discriminator.parameters() if p.ndim == 4]
    heads = [p.clone() for p in kernels]
    distiller.step()
    distiller.step()
    assert all(torch.equal(a, b) for a, b in zip(heads, kernels, strict=True))
    distiller.step()
    assert not any(torch.equal(a, b) for a, b in zip(heads, kernels, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, distiller.rendering.parameters(), strict=True))


def test_without_photographs_the_pair_draws_them(pictures: Path):
    distiller = make_distiller(pictures)
    distiller.photos = None
    for _ in range(3):
        distiller.step()
    assert "loss/discriminator" in distiller.statistics.take()


def test_the_result_knows_its_range_and_the_run_goes_on_as_before(pictures: Path):
    distiller = make_distiller(pictures, replace(OPTIONS, range_faces=64))
    distiller.step()
    before = {name: tensor.clone() for name, tensor in distiller.average.state_dict().items()}
    result = distiller.result()
    assert result.range_levels[-1] > result.range_levels[0] > 0
    assert result.share_within(result.strangeness(50 * torch.rand(1, 3, 32, 32))).item() > 0.9
    assert all(torch.equal(tensor, before[name]) for name, tensor in distiller.average.state_dict().items())


def test_events(pictures: Path):
    events = list(train(make_distiller(pictures)))
    assert [event.images_seen for event in events if isinstance(event, Tick)] == [20, 40, 60, 80]
    assert events[-1] == Finished(80)
    stops = itertools.chain([False, True])
    assert list(train(make_distiller(pictures), lambda: next(stops))) == [Stopped(8)]


def test_both_looks_of_an_example_are_of_one_code():
    generator = make_generator(0)
    real = cast(Generator, Warmer(generator))
    one, other = (drawn(generator, real, 4, (0.7, 1.0), torch.Generator().manual_seed(3)) for _ in "ab")
    assert torch.equal(one.rendering, other.rendering)
    wanted = one.rendering * 0.6 + torch.tensor([0.1, -0.2, -0.2]).view(1, 3, 1, 1)
    assert torch.allclose(one.photo, wanted, atol=1e-5)


def test_both_looks_are_disturbed_alike_but_for_glints():
    face = torch.rand(2, 3, 32, 32) - 0.5
    still = DisturbOptions(glints=0)
    alike = disturbed(Translations(face, face), torch.rand(2, 3, 32, 32), still, torch.Generator().manual_seed(0))
    assert torch.equal(alike.rendering, alike.photo)
    random = torch.Generator().manual_seed(0)
    apart = disturbed(Translations(face, face), torch.rand(2, 3, 32, 32), DisturbOptions(), random)
    assert (apart.rendering - apart.photo).min() >= 0
    assert (apart.rendering - apart.photo).max() > 0.05


@pytest.mark.parametrize("value", [-0.5, 0.3])
def test_a_plain_picture_has_no_fine_detail(value: float):
    assert fine_detail(torch.full((1, 3, 16, 16), value)).abs().max() < 1e-6
