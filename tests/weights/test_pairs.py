"""Pairs and bases: what is written is read back; what does not fit is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from refacer.errors import InputRefused, UsageError, WeightsMissing
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.options import NetworkOptions
from refacer.weights import pairs, registry
from refacer.weights.bases import encode_base, grow, load_base
from refacer.weights.choices import choose
from refacer.weights.loaders import encode_network, load_generator
from refacer.weights.pairs import encode_files, load_pair

CPU = torch.device("cpu")
SIZES = {"img_resolution": 16, "channel_base": 64, "channel_max": 8}
FACTS = {
    "name": "tiny", "resolution": 16, "num_ws": 6, "w_dim": 8, "w_std": 1.5, "licence": "CC0-1.0", "commercial": "yes",
    "defaults": {"steps": 3, "lr": 0.05}, "perceptual": {},
}  # fmt: skip


def _generator() -> Generator:
    return Generator(GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, **SIZES))


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def networks() -> dict[str, torch.nn.Module]:
    return {
        "real": _generator(), "rendering": _generator(), "discriminator": Discriminator(DiscriminatorConfig(**SIZES))
    }  # fmt: skip


def test_a_pair_is_read_back(tmp_path, networks):
    pair = load_pair(str(_write(tmp_path / "p", encode_files(networks, FACTS, {}))))
    assert (pair.name, pair.resolution, pair.num_ws, pair.w_dim, pair.w_std) == ("tiny", 16, 6, 8, 1.5)
    assert (pair.defaults.steps, pair.defaults.lr) == (3, 0.05)
    for role in ("real", "rendering"):
        read = pair.generator(role, CPU)
        assert not read.training
        for name, tensor in read.state_dict().items():
            assert torch.equal(tensor, networks[role].state_dict()[name].half().float()), name
    images = torch.zeros(1, 3, 16, 16)
    assert choose("perceptual", "pair", pair).load(CPU).features(images).shape[0] == 1


def test_a_network_kept_elsewhere_is_found_by_its_hash(tmp_path, networks, monkeypatch):
    base = _write(tmp_path / "weights" / "base", encode_files(networks, FACTS, {}))
    monkeypatch.setattr(pairs, "EMBEDDED", tmp_path / "weights")
    named = {"real": load_pair(str(base)).sha256("real")}
    pair = load_pair(str(_write(tmp_path / "mine", encode_files({"rendering": _generator()}, FACTS, named))))
    assert pair.path("real") == base / "real.safetensors"
    (base / "real.safetensors").write_bytes(b"something else")
    with pytest.raises(WeightsMissing, match="real"):
        pair.path("real")


def test_the_environment_names_the_default(tmp_path, networks, monkeypatch):
    monkeypatch.setenv("REFACER_PAIR", str(_write(tmp_path / "p", encode_files(networks, FACTS, {}))))
    assert load_pair().name == "tiny"


def test_what_is_no_pair_is_said_so(tmp_path):
    with pytest.raises(WeightsMissing, match="nowhere"):
        load_pair("nowhere")
    with pytest.raises(UsageError, match=r"pair\.json"):
        load_pair(str(tmp_path))
    (tmp_path / "pair.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(InputRefused, match="missing"):
        load_pair(str(tmp_path))
    for text in ("", "[]", "[" * 100_000, "\xff", json.dumps({**FACTS, "format": 2, "networks": {}})):
        (tmp_path / "pair.json").write_text(text, encoding="latin1")
        with pytest.raises(InputRefused, match=r"pair\.json: not a pair description"):
            load_pair(str(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1}, {"resolution": "16"}, {"num_ws": 10**30}, {"w_std": float("nan")}, {"w_std": 0}, {"licence": None},
        {"commercial": "perhaps"}, {"commercial": []}, {"defaults": {"steps": 3}},
        {"defaults": {"steps": 3, "lr": "x"}}, {"defaults": {"steps": 3, "lr": 0.1, "psi": 1.5}},
        {"defaults": {"steps": 3, "lr": 0.1, "prior": -1}}, {"defaults": {"steps": 3, "lr": 0.1, "prior": True}},
        {"networks": []}, {"networks": {"real": "x"}}, {"networks": {"real": {"file": "real.safetensors"}}},
        {"networks": {"real": {"sha256": 1}}}, {"perceptual": None},
        {"perceptual": {"more": 1}},
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_is_refused(tmp_path, change):
    facts = {"format": 1, "networks": {}, **FACTS, **change}
    (tmp_path / "pair.json").write_text(json.dumps(facts))
    with pytest.raises(InputRefused, match=f"{next(iter(change))} cannot be"):
        load_pair(str(tmp_path))


def test_a_file_of_another_kind_shape_or_with_nan_is_refused(tmp_path, networks):
    path = tmp_path / "x.safetensors"
    path.write_bytes(encode_network(networks["discriminator"], "discriminator", SIZES))
    with pytest.raises(InputRefused, match="not a generator"):
        load_generator(path)
    generator = _generator()
    path.write_bytes(encode_network(generator, "generator", {**generator.config.to_dict(), "w_dim": 16}))
    with pytest.raises(InputRefused, match="configuration"):
        load_generator(path)
    with torch.no_grad():
        next(generator.parameters()).view(-1)[0] = float("nan")
    path.write_bytes(encode_network(generator, "generator", generator.config.to_dict()))
    with pytest.raises(InputRefused, match="finite"):
        load_generator(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputRefused, match="safetensors"):
        load_generator(path)


@pytest.mark.parametrize(
    "config",
    [
        {"img_resolution": "16"}, {"img_resolution": 1 << 16}, {"img_resolution": 24}, {"z_dim": 10**9}, {"w_dim": -8},
        {"mapping_layers": 10**9}, {"mapping_layers": True}, {"channel_base": 1}, {"conv_clamp": "x"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_configuration_that_is_impossible_takes_no_memory(tmp_path, config):
    path = tmp_path / "x.safetensors"
    generator = _generator()
    path.write_bytes(encode_network(generator, "generator", {**generator.config.to_dict(), **config}))
    with pytest.raises(InputRefused, match=r"x\.safetensors: its tensors do not fit its own configuration \("):
        load_generator(path)


@pytest.mark.parametrize("about", ["", "[" * 100_000, "[]", '{"kind": "generator"}', '{"kind": 1, "config": {}}'])
def test_a_file_that_does_not_say_what_it_is(tmp_path, about):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={"refacer": about}))
    with pytest.raises(InputRefused, match="not a generator"):
        load_generator(path)


def test_a_grown_base_draws_the_old_picture_enlarged(tmp_path, networks):
    files = encode_base(networks["real"], networks["discriminator"], {"licence": "CC0-1.0", "commercial": "yes"})
    base = load_base(str(_write(tmp_path / "run", files)))
    grown, discriminator = grow(base, NetworkOptions(32, 64, 8, 8, 8, 2))
    z = torch.randn(2, 8)
    old, new = (g.synthesis(g.mapping(z), noise_mode="none") for g in (base.generator, grown))
    assert new.shape[-1] == discriminator.img_resolution == 32
    again = torch.nn.functional.avg_pool2d(new, 2)
    assert torch.corrcoef(torch.stack([old.flatten(), again.flatten()]))[0, 1] > 0.95


def test_a_pair_is_a_base(tmp_path, networks):
    folder = _write(tmp_path / "p", encode_files(networks, FACTS, {}))
    base = load_base(str(folder))
    assert base.sha256 == load_pair(str(folder)).sha256("real")
    assert base.discriminator is not None


def test_a_pair_may_name_efficientnet_as_its_perceptual_network(tmp_path, networks):
    facts = FACTS | {"perceptual": {"network": "efficientnet-lite0", "input_px": 32}}
    pair = load_pair(str(_write(tmp_path / "p", encode_files(networks, facts, {}))))
    chosen = choose("perceptual", "pair", pair)
    assert chosen.load(CPU).features(torch.zeros(1, 3, 64, 64)).shape == (1, 16 * 256 + 24 * 64 + 40 * 16 + 112 * 4)
    assert chosen.models == {"perceptual": registry.weight("efficientnet-lite0").sha256}


def test_a_stand_in_may_look_at_eyes_and_mouth_once_more(tmp_path, networks):
    settings = {"network": "efficientnet-lite0", "input_px": 32, "parts": {"side_px": 32, "weight": 0.3}}
    pair = load_pair(str(_write(tmp_path / "p", encode_files(networks, FACTS | {"perceptual": settings}, {}))))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    chosen = choose("perceptual", "pair", pair)
    whole, once_more = (network.features(images) for network in (chosen.whole().load(CPU), chosen.load(CPU)))
    assert once_more.shape == (2, 4 * whole.shape[1])
    torch.testing.assert_close(once_more[:, : whole.shape[1]], whole * 0.7**0.5)


@pytest.mark.parametrize(
    "parts",
    [{"side_px": 64}, {"side_px": 0, "weight": 0.3}, {"side_px": 64, "weight": 1}, {"side_px": 64, "weight": "x"}, 3],
)
def test_parts_that_cannot_be_are_refused(tmp_path, networks, parts):
    folder = _write(tmp_path / "p", encode_files(networks, FACTS | {"perceptual": {"parts": parts}}, {}))
    with pytest.raises(InputRefused, match="perceptual cannot be"):
        load_pair(str(folder))


def test_an_unknown_perceptual_network_is_refused(tmp_path, networks):
    facts = FACTS | {"perceptual": {"network": "resnet"}}
    pair = load_pair(str(_write(tmp_path / "p", encode_files(networks, facts, {}))))
    with pytest.raises(InputRefused, match="resnet"):
        choose("perceptual", "pair", pair).load(CPU)
