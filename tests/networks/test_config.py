import json

import pytest

from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.config import DiscriminatorConfig, GeneratorConfig


@pytest.mark.parametrize(
    "config", [GeneratorConfig(z_dim=64, conv_clamp=256.0), DiscriminatorConfig(img_resolution=64)]
)
def test_config_survives_json(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_channels_and_codes_of_ffhq():
    config = GeneratorConfig()
    assert [config.channels(r) for r in config.resolutions] == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    assert config.num_ws == 18


@pytest.mark.parametrize("resolution", [0, 4, 100])
def test_resolution_must_be_a_power_of_two(resolution):
    with pytest.raises(ShapeMismatch, match="power of two"):
        GeneratorConfig(img_resolution=resolution)


def test_unknown_fields_are_named():
    with pytest.raises(ShapeMismatch, match="c_dim"):
        GeneratorConfig.from_dict({"c_dim": 0})
