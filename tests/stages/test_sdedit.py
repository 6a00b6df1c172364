"""SDEdit with models whose answer is known."""

import pytest
import torch
from torch import Tensor

from refacer.errors import UsageError
from refacer.networks.diffusion import Denoiser, DiffusionConfig
from refacer.options import SDEditOptions
from refacer.stages.sdedit import sdedit, visited

SIGNAL = DiffusionConfig().signal()
OPTIONS = SDEditOptions(steps=50)


class Knows:
    """A model that knows one photograph only, and so finds all else to be noise."""

    side_px, signal, highest, bounded = 8, SIGNAL, 500, True

    def __init__(self, photograph: Tensor) -> None:
        self.photograph = photograph
        self.levels: list[int] = []

    def encode(self, faces: Tensor) -> Tensor:
        return faces

    def decode(self, x: Tensor) -> Tensor:
        return x

    def noise(self, x: Tensor, level: int) -> Tensor:
        self.levels.append(level)
        share = float(self.signal[level - 1])
        return (x - share**0.5 * self.photograph) / (1 - share) ** 0.5


class Sees(Knows):
    """A model of pictures whose pixels are independent normal numbers of a spread: its best answer in closed form."""

    bounded = False
    spread = 0.25

    def noise(self, x: Tensor, level: int) -> Tensor:
        share = float(self.signal[level - 1])
        return x * (1 - share) ** 0.5 / (share * self.spread**2 + 1 - share)


def test_what_is_known_is_found_at_the_model_s_size():
    photograph = torch.rand(1, 3, 8, 8) * 2 - 1
    found = sdedit(torch.zeros(1, 3, 32, 32), Knows(photograph), OPTIONS, seed=0)
    torch.testing.assert_close(found, photograph, rtol=0, atol=1e-3)


def test_noise_goes_no_higher_than_t0_and_falls_evenly():
    model = Knows(torch.zeros(1, 3, 8, 8))
    sdedit(torch.zeros(1, 3, 8, 8), model, OPTIONS, seed=0)
    assert model.levels == list(range(300, 0, -20))
    assert visited(SDEditOptions(t0=0.002), model) == [2]
    assert visited(SDEditOptions(t0=0.3, steps=1000), model) == list(range(300, 0, -1))
    with pytest.raises(UsageError, match=r"up to 0.5 only"):
        visited(SDEditOptions(t0=0.6), model)


def test_samples_repeat_by_seed_and_have_the_model_s_spread():
    """With many steps DDIM carries normal noise to the model's own distribution, whatever the face was."""
    model, options = Sees(torch.zeros(0)), SDEditOptions(t0=0.5, steps=1000)
    model.side_px = 64
    face = torch.zeros(1, 3, 64, 64)
    first, again, other = (sdedit(face, model, options, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1])) < 0.05
    share = float(SIGNAL[499])
    expected = model.spread * ((1 - share) / (share * model.spread**2 + 1 - share)) ** 0.5
    assert float(first.std()) == pytest.approx(expected, rel=0.03)


def test_little_noise_leaves_the_face():
    face = torch.rand(1, 3, 8, 8) - 0.5
    found = sdedit(face, Sees(torch.zeros(0)), SDEditOptions(t0=0.001), seed=0)
    assert (found - face).abs().max() < 0.1


def test_the_levels_are_those_published():
    """At 300 of 1000: signal 0.630, noise 0.777."""
    assert float(SIGNAL[299].sqrt()) == pytest.approx(0.630, abs=1e-3)
    assert float((1 - SIGNAL[299]).sqrt()) == pytest.approx(0.777, abs=1e-3)


def test_a_denoiser_starts_silent_and_knows_its_level():
    torch.manual_seed(0)
    network = Denoiser(DiffusionConfig(16, (8, 16), 8, trained_levels=100))
    x = torch.randn(2, 3, 16, 16)
    assert not network.noise(x, 50).any()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    low, high = network.noise(x, 1), network.noise(x, 100)
    assert low.shape == x.shape
    assert (low - high).abs().max() > 1e-3
    mixed = network(x, torch.tensor([1, 100]))
    torch.testing.assert_close(mixed, torch.cat([low[:1], high[1:]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"resolution": 10, "widths": (8, 8, 8)}, {"widths": (12,)}, {"trained_levels": 0}])
def test_sizes_that_make_no_network(change):
    with pytest.raises(UsageError):
        DiffusionConfig(**change)
