import pytest
import torch

from refacer.networks.encoders import FaceEncoder, compact_config
from refacer.networks.linear_styles import LinearStyles
from refacer.weights.formats.states import shapes_of
from refacer.weights.published import load_efficientnet
from tests.networks.test_encoders import faces, tiny_encoder
from tests.tiny import tiny_generator


@pytest.fixture(scope="module")
def trunk():
    return load_efficientnet(torch.device("cpu"))


@pytest.fixture
def styles(trunk) -> LinearStyles:
    """For the tiny generator, with random answers."""
    encoder = tiny_encoder("linear").encoder
    assert isinstance(encoder, LinearStyles)
    encoder.look_through(trunk)
    return encoder


def test_it_fits_into_a_pair_and_holds_nothing_of_its_trunk():
    shapes = shapes_of(lambda: FaceEncoder(compact_config("linear", 14, 256, 256)))
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) * 2 < 12e6
    assert {name.split(".")[1] for name in shapes if "." in name} == {"center", "kept", "styles"}


def test_turned_features_have_a_deviation_of_one_and_nothing_in_common(styles):
    seen = styles.features(faces(40))
    styles.turn(seen)
    kept = styles.kept(seen - styles.center)
    torch.testing.assert_close(kept.mean(0), torch.zeros(styles.width), atol=1e-4, rtol=0)
    torch.testing.assert_close(kept.T @ kept / 40, torch.eye(styles.width), atol=1e-3, rtol=0)
    apart = seen - styles.center
    most = torch.linalg.svdvals(apart)[: styles.width].square().sum()
    direction = styles.kept.weight / styles.kept.weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close((apart @ direction.T).square().sum(), most)  # no others hold more of what varies


def test_codes_do_not_depend_on_the_batch(styles):
    encoder, generator = tiny_encoder("linear"), tiny_generator(frozen=True)
    encoder.encoder = styles
    codes = encoder(faces(), generator)
    assert codes.shape == (2, 6, 8)
    torch.testing.assert_close(encoder(faces()[1:], generator), codes[1:], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(codes[0], codes[1], atol=1e-3)


def test_silent_it_answers_nothing(styles):
    styles.silence()
    assert not styles(faces()).any()
