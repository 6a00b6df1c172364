import pytest
import torch
from torch import Tensor

from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.networks import Generator
from refacer.options import DecodeOptions
from refacer.stages.decode import decode
from tests.tiny import tiny_generator


@pytest.fixture
def generator() -> Generator:
    network = tiny_generator(noise=0.3)
    network.mapping.w_avg.copy_(torch.randn(8))
    return network


@pytest.fixture
def codes(generator: Generator) -> Tensor:
    return torch.randn(3, generator.num_ws, 8)


@pytest.mark.parametrize("mode", ["const", "none"])
def test_a_code_becomes_the_generators_picture(generator: Generator, codes: Tensor, mode: str) -> None:
    pictures = decode(codes, generator, DecodeOptions(noise_mode=mode))  # pyright: ignore[reportArgumentType]
    assert pictures.shape == (3, 3, 16, 16)
    assert not pictures.requires_grad
    expected = generator.synthesis(codes, noise_mode=mode)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(pictures, expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["const", "none", "random"])
def test_a_face_does_not_depend_on_its_place(generator: Generator, codes: Tensor, mode: str) -> None:
    options = DecodeOptions(noise_mode=mode)  # pyright: ignore[reportArgumentType]
    assert torch.equal(decode(codes, generator, options)[2:], decode(codes[2:], generator, options))


def test_random_noise_follows_the_seed(generator: Generator, codes: Tensor) -> None:
    first, again, other = (decode(codes, generator, DecodeOptions(noise_mode="random", seed=s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, decode(codes, generator, DecodeOptions()))


def test_truncation_leads_to_the_average_face(generator: Generator, codes: Tensor) -> None:
    average = generator.mapping.w_avg.expand(1, generator.num_ws, 8)
    expected = decode(average, generator, DecodeOptions()).expand(3, -1, -1, -1)
    torch.testing.assert_close(decode(codes, generator, DecodeOptions(truncation_psi=0.0)), expected)
    half = decode((codes + average) / 2, generator, DecodeOptions())
    torch.testing.assert_close(decode(codes, generator, DecodeOptions(truncation_psi=0.5)), half, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 6, 9), (1, 5, 8), (6, 8), (1, 1, 6, 8)])
def test_codes_of_another_generator_are_refused(generator: Generator, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match=r"this generator takes \(N, 6, 8\)") as caught:
        decode(torch.zeros(shape), generator, DecodeOptions())
    assert caught.value.exit_code == 4


def test_no_code_gives_no_picture(generator: Generator) -> None:
    assert decode(torch.zeros(0, 6, 8), generator, DecodeOptions()).shape == (0, 3, 16, 16)


def test_a_code_of_w_goes_to_every_layer(generator: Generator, codes: Tensor) -> None:
    one = codes[:, :1]
    everywhere = one.repeat(1, generator.num_ws, 1)
    assert torch.equal(decode(one, generator, DecodeOptions()), decode(everywhere, generator, DecodeOptions()))
