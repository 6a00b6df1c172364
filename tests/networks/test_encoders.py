import pytest
import torch
from torch import Tensor, nn

from refacer.errors import ShapeMismatch, UsageError
from refacer.networks.encoders import LOOK_ONCE, EncoderConfig, FaceEncoder, StyleEncoder, compact_config
from refacer.options import EncoderName, PairEncoderName, TrunkName
from refacer.weights.formats.states import shapes_of
from refacer.weights.published import with_trunk
from tests.tiny import tiny_generator

TRUNKS: tuple[TrunkName, ...] = ("own", "efficientnet-lite0")
KINDS: tuple[EncoderName, ...] = ("psp", "e4e", "restyle-psp", "restyle-e4e")


def tiny_encoder(kind: PairEncoderName = "psp", *, seed: int = 0, passes: int = 2, **changes) -> FaceEncoder:
    """An encoder for the tiny generator's six codes of eight numbers, in eval mode; its answers are random."""
    torch.manual_seed(seed)
    changes["passes"] = 1 if kind in LOOK_ONCE else passes
    config = EncoderConfig(kind, 6, 8, 32, (1, 1, 1, 1), (8, 8, 8, 8), 8, coarse=2, fine=4, **changes)
    return with_trunk(FaceEncoder(config)).eval().requires_grad_(False)


def faces(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    ("kind", "values"), [("psp", 267.17), ("e4e", 267.17), ("restyle-psp", 205.62), ("restyle-e4e", 205.62)]
)
def test_the_published_sizes(kind, values):
    """The counts are those of the published files, the names those of their state dicts."""
    shapes = shapes_of(lambda: FaceEncoder(EncoderConfig(kind)))
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) / 1e6 == pytest.approx(values, abs=0.01)
    assert shapes["encoder.input_layer.0.weight"] == (64, 6 if kind.startswith("restyle") else 3, 3, 3)
    assert shapes["encoder.body.23.res_layer.5.fc2.weight"] == (512, 32, 1, 1)
    assert shapes["encoder.body.7.shortcut_layer.0.weight"] == (256, 128, 1, 1)
    assert shapes["encoder.styles.17.linear.weight"] == (512, 512)
    assert ("encoder.latlayer2.weight" in shapes) == (not kind.startswith("restyle"))
    convolutions = [name for name in shapes if name.startswith("encoder.styles.17.convs.") and "weight" in name]
    assert len(convolutions) == (4 if kind.startswith("restyle") else 6)


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_s_own_is_small(kind, trunk):
    """Nothing of a borrowed trunk is in it."""
    shapes = shapes_of(lambda: FaceEncoder(compact_config(kind, 14, 256, 256, trunk)))
    assert 7e6 < sum(torch.Size(shape).numel() for shape in shapes.values()) * 2 < 12e6
    assert ("encoder.body.0.res_layer.1.weight" in shapes) == (trunk == "own")


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("kind", KINDS)
def test_codes_do_not_depend_on_the_batch(kind, trunk):
    encoder, generator = tiny_encoder(kind, trunk=trunk), tiny_generator(frozen=True)
    codes = encoder(faces(), generator)
    assert codes.shape == (2, 6, 8)
    torch.testing.assert_close(encoder(faces()[1:], generator), codes[1:], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(codes[0], codes[1], atol=1e-3)


def test_answers_are_offsets_from_the_average():
    encoder, generator = tiny_encoder(), tiny_generator(frozen=True)
    before = encoder(faces(), generator)
    encoder.latent_avg += 3
    torch.testing.assert_close(encoder(faces(), generator), before + 3)


def test_e4e_adds_to_its_first_code():
    encoder = tiny_encoder("e4e").encoder
    assert isinstance(encoder, StyleEncoder)
    whole, first, two = encoder(faces()), encoder(faces(), 0), encoder(faces(), 2)
    assert (first == first[:, :1]).all()
    torch.testing.assert_close(two[:, :3], whole[:, :3])
    torch.testing.assert_close(two[:, 3:], first[:, 3:])
    nn.init.zeros_(encoder.styles[5].get_parameter("linear.weight"))
    nn.init.zeros_(encoder.styles[5].get_parameter("linear.bias"))
    torch.testing.assert_close(encoder(faces())[:, 5], whole[:, 0])


@pytest.mark.parametrize("trunk", TRUNKS)
def test_restyle_looks_at_its_last_result(trunk):
    encoder, generator = tiny_encoder("restyle-psp", passes=3, trunk=trunk), tiny_generator(frozen=True)
    found = encoder.all_passes(faces(), generator)
    assert len(found) == 3
    torch.testing.assert_close(encoder(faces(), generator), found[-1])
    drawn = generator.synthesis(found[0], noise_mode="const")
    seen = torch.cat([faces(), nn.functional.interpolate(drawn, size=(32, 32), mode="bilinear")], 1)
    torch.testing.assert_close(found[1], found[0] + encoder.encoder(seen))


def test_another_generator_s_face_is_refused():
    with pytest.raises(ShapeMismatch, match=r"\(6, 8\) and the generator takes \(6, 12\)"):
        tiny_encoder()(faces(), tiny_generator(w_dim=12))
    with pytest.raises(UsageError, match="48 pixels"):
        EncoderConfig("psp", input_px=48)
    with pytest.raises(UsageError, match="psp looks once, not 2 times"):
        EncoderConfig("psp", passes=2)
