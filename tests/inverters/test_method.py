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
