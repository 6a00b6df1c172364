import json
import shutil

import pytest

from refacer.equipment import Equipment
from refacer.errors import UsageError
from refacer.inverters.method import Method, chosen_method
from refacer.options import INVERTERS, Choices


@pytest.mark.parametrize("name", INVERTERS)
def test_every_name_is_a_method(pair, name):
    """The table names what exists, and each tells its part of the passport under its own name."""
    method = chosen_method(Equipment(pair, "cpu", Choices(inverter=name)), "real")
    assert isinstance(method, Method)
    assert (method.name, method.into) == (name, "real")


def test_an_unknown_way_is_refused():
    with pytest.raises(UsageError, match="--inverter swim: choose among optimise"):
        Choices(inverter="swim")


def test_axes_are_the_pairs_own_unless_chosen(pair, tmp_path):
    """What Adam moves is in the passport; the pair's range is known only for what the pair itself moves."""
    facts = json.loads((pair / "pair.json").read_text())
    shutil.copytree(pair, tmp_path / "along")
    facts |= {"range": {"distance": [0.5] * 101}, "defaults": {**facts["defaults"], "axes": "styles"}}
    (tmp_path / "along" / "pair.json").write_text(json.dumps(facts))

    def told(**choices):
        equipment = Equipment(tmp_path / "along", "cpu", Choices(way="project", **choices))
        parameters = chosen_method(equipment).parameters()
        return parameters["axes"], parameters["adam_betas"], equipment.limit

    assert told() == ("styles", (0.8, 0.95), 0.5)
    assert told(axes="styles") == told()
    assert told(axes="codes") == ("codes", (0.9, 0.999), None)
    with pytest.raises(UsageError, match="--axes w: choose among codes, styles"):
        Choices(axes="w")  # pyright: ignore[reportArgumentType]
