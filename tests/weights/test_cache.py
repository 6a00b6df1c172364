"""A place for weights that cannot be read, or that does not exist: the program works, and says what it does not see."""

import errno

import pytest

from refacer.errors import OutputNotWritable, RefacerWarning
from refacer.weights import cache


def refused(*_args, **_options):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_closed_cache_is_told_and_holds_nothing(home, monkeypatch):
    monkeypatch.setattr("refacer.weights.cache.os.listdir", refused)
    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    with pytest.warns(RefacerWarning, match=r"cannot be read \(Permission denied\)"):
        assert cache.all_installed() == []
    with pytest.warns(RefacerWarning, match="REFACER_HOME"):
        assert cache.installed("thing") is None


def test_a_user_without_a_home_has_nothing_installed(monkeypatch):
    def homeless(*_args, **_options):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("REFACER_HOME")
    monkeypatch.setattr("platformdirs.user_cache_path", homeless)
    assert (cache.folders(), cache.installed("thing"), cache.first_seen("thing")) == ([], None, None)
    with pytest.raises(OutputNotWritable, match="REFACER_HOME"), cache.lock("thing"):
        pass
