"""The table of roles: what is chosen, given what is installed and what the pair brings."""

import hashlib
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import pytest
import torch

from refacer.errors import InputRefused, UsageError, WeightsMissing
from refacer.options import AlignOptions, ParserChoice, Perception
from refacer.weights import cache, registry
from refacer.weights.choices import OWN, ROLES, choose, require, uses_of_run
from refacer.weights.pairs import load_pair

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No weight is installed."""
    monkeypatch.setenv("REFACER_HOME", str(tmp_path))


def install(name: str) -> None:
    """An empty weight under its name; it can be chosen, not loaded."""
    file = "network.safetensors"
    hashes = {file: hashlib.sha256(b"").hexdigest()}
    cache.put(cache.Record(name, "ab" * 32, 1, "import", name, (), hashes), {file: b""})


def pair_of(networks: dict[str, Any], perceptual: dict[str, Any]) -> Any:
    """A pair as far as a choice looks at it."""
    facts = {"networks": networks, "perceptual": perceptual}
    return SimpleNamespace(name="p", facts=facts, has=lambda role: role in networks)


def test_every_weight_of_the_table_is_in_the_registry_and_every_order_names_the_table():
    for role in ROLES.values():
        for network in role.networks.values():
            assert all(registry.find(name) for name in network.weights.values())
        assert {name for name in role.order if "pair" not in name} <= role.networks.keys()


def test_the_options_name_networks_of_the_table():
    assert set(get_args(get_type_hints(AlignOptions)["detector"])) == set(ROLES["detector"].networks)
    assert set(get_args(ParserChoice)) == {"auto", OWN, *ROLES["parser"].networks}
    assert set(get_args(Perception)) <= {"auto", OWN, *ROLES["perceptual"].networks}


@pytest.mark.parametrize(
    ("role", "weight", "stand_in"),
    [
        ("perceptual", "vgg16", "efficientnet-lite0"),
        ("identity", "curricularface", "dlib-recognition"),
        ("sketch", "sketch", "lines (XDoG stand-in)"),
    ],
)
def test_what_is_installed_is_chosen_and_a_stand_in_else(role, weight, stand_in):
    chosen = choose(role)
    assert (chosen.name, chosen.stand_in, chosen.missing()) == (stand_in, True, [])
    assert chosen.description == chosen.label
    install(weight)
    chosen = choose(role)
    assert (chosen.name, chosen.stand_in) == (weight, False)
    assert chosen.description == f"{chosen.label}, sha256 {'ab' * 32}"
    assert chosen.models[role] == hashlib.sha256(b"").hexdigest()


def test_inception_needs_torch_fidelity_too(monkeypatch):
    install("inception")
    monkeypatch.setattr("refacer.weights.choices.find_spec", lambda name: None)
    assert choose("features").name == "efficientnet-lite0"
    monkeypatch.setattr("refacer.weights.choices.find_spec", lambda name: object())
    assert choose("features").name == "inception"


def test_a_pairs_own_parser_comes_first_and_its_own_perceptual_network_last():
    pair = pair_of({"parser": {}}, {"network": "efficientnet-lite0", "input_px": 64})
    install("vgg16")
    install("bisenet")
    assert (choose("parser", pair=pair).name, choose("parser", pair=pair).stand_in) == ("parser", False)
    assert choose("perceptual", pair=pair).name == "vgg16"
    own = choose("perceptual", "pair", pair)
    assert (own.name, own.settings["input_px"]) == ("efficientnet-lite0", 64)
    assert choose("parser", pair=pair_of({}, {})).name == "bisenet"
    borrowed = choose("parser", "pair", pair_of({}, {}))
    assert (borrowed.stand_in, borrowed.pair and borrowed.pair.name) == (True, "studio")


def test_a_pair_is_opened_only_where_the_choice_depends_on_it():
    def opened() -> Any:
        raise AssertionError

    install("vgg16")
    assert choose("perceptual", pair=opened).name == "vgg16"
    assert choose("parser", "bisenet", opened).name == "bisenet"
    with pytest.raises(AssertionError):
        choose("parser", pair=opened)


def test_all_that_is_missing_is_told_at_once():
    with pytest.raises(WeightsMissing, match="pull retinaface vgg16"):
        require([choose("detector", "retinaface"), choose("perceptual", "lpips")])


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="no parser; choose among auto, bisenet"):
        choose("parser", "unet")
    with pytest.raises(UsageError, match="no sketch of a pair"):
        choose("sketch", "pair")
    with pytest.raises(InputRefused, match="unknown perceptual network: resnet"):
        choose("perceptual", "pair", pair_of({}, {"network": "resnet"}))


def test_the_default_pairs_run_uses_each_file_once():
    uses = uses_of_run(load_pair("studio"))
    own = ["real", "rendering", "discriminator", "parser", "translator", "encoder"]
    assert [use.role for use in uses] == [*own, "perceptual", "landmarks"]
    assert len({use.sha256 for use in uses}) == len(uses)
