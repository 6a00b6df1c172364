"""The registry: every published file that the method or its metrics use, well-formed."""

import re

import pytest

from refacer.errors import UsageError
from refacer.weights import registry
from refacer.weights.convert import STYLEGAN2
from refacer.weights.formats import encoders, recognise
from refacer.weights.formats.hyperstyle import HYPERSTYLE, W_ENCODER

NEEDED = {
    "ffhq", "ffhq-rosinality", "e4e", "psp", "restyle-psp", "restyle-e4e", "hyperstyle", "hyperstyle-w",
    "retinaface", "bisenet", "parsenet", "vgg16", "alexnet", "lpips-vgg", "sketch", "clip",
    "inception", "curricularface", "arcface", "dlib-landmarks", "dlib-recognition", "efficientnet-lite0",
}  # fmt: skip
KINDS = {STYLEGAN2, *(network.kind for network in recognise.NETWORKS), *encoders.TYPES.values(), HYPERSTYLE, W_ENCODER}


def test_all_that_the_method_and_its_metrics_use_is_there():
    names = [entry.name for entry in registry.weights()]
    assert set(names) >= NEEDED
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", registry.weights(), ids=lambda entry: entry.name)
def test_an_entry_is_well_formed(entry):
    assert bool(entry.urls) != bool(entry.package), "downloaded, or part of a package"
    assert all(url.startswith("https://") for url in entry.urls)
    assert len(entry.urls) == len(set(entry.urls))
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.commercial in registry.SEVERITY
    assert entry.licence.url.startswith("https://")
    if entry.package:
        assert entry.sha256
        assert entry.member
    else:
        assert entry.kind in KINDS, "what `convert` must find in it"


def test_the_nearest_name_is_offered():
    with pytest.raises(UsageError, match="did you mean curricularface"):
        registry.weight("curicularface")
    with pytest.raises(UsageError, match="weights list"):
        registry.weight("zzzz")
