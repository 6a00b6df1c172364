"""`refacer weights pull` over HTTP, from the licence to an installed base."""

import hashlib
import json

import pytest
import torch

from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.weights import cache, download, registry
from refacer.weights.pairs import load_pair
from tests.weights.writers import snapshot

SIZES = {"img_resolution": 16, "channel_base": 64, "channel_max": 8}
ENTRY = """
[licences.test]
title = "Test licence"
url = "https://example.invalid/licence"
terms = "For tests."

[[weights]]
name = "tiny"
role = "generator"
file = "tiny.pkl"
urls = ["{url}"]
sha256 = "{sha256}"
format = "NVIDIA pickle"
kind = "stylegan2"
licence = "test"
commercial = "no"
purpose = "tests"
"""


@pytest.fixture
def tiny(site, home, tmp_path, monkeypatch):
    """The server has a tiny generator in NVIDIA's container; the registry knows nothing else. No pause is long."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, **SIZES))
    site.data = snapshot(generator, Discriminator(DiscriminatorConfig(**SIZES)))
    path = tmp_path / "registry.toml"
    path.write_text(ENTRY.format(url=site.url("/tiny.pkl"), sha256=hashlib.sha256(site.data).hexdigest()))
    monkeypatch.setattr(registry, "REGISTRY", path)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    return generator


def test_a_pull_ends_in_a_base(cli, site, tiny, home):
    site.url("/tiny.pkl", ("truncate", 5000), ("status", 503))
    ended = cli("weights", "pull", "tiny", "--accept-licence")
    assert ended.code == 0, ended.err
    assert "Test licence. For tests." in ended.err
    assert site.ranges == [None, "bytes=5000-", "bytes=5000-"]
    pair = load_pair("tiny")
    assert (pair.licence, pair.commercial, pair.resolution) == ("Test licence", "no", 16)
    drawn = pair.generator("real", torch.device("cpu"))
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(drawn.state_dict()[name], tensor), name
    assert json.loads(cli("weights", "list", "--json").out)[0]["state"] == "installed"
    again = cli("weights", "pull", "tiny")
    assert (again.code, len(site.asked)) == (0, 3)
    assert "installed already" in again.err


@pytest.mark.parametrize(("answer", "code"), [("flip", 5), ("page", 8), ("die", 8)])
def test_what_cannot_be_had_has_its_code_and_one_line(cli, site, tiny, home, answer, code):
    site.url("/tiny.pkl", *[(answer,)] * 9)
    ended = cli("weights", "pull", "tiny", "--accept-licence", "-q")
    assert ended.code == code
    assert ended.err.splitlines()[-1].startswith("refacer: error: tiny: ")
    assert "refacer weights import FILE --as tiny" in ended.err
    assert cache.all_installed() == []
