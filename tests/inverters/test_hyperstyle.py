"""HyperStyle from its two files to codes whose offsets travel: `project --inverter hyperstyle`, then `decode`."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.errors import InputRefused, ShapeMismatch
from refacer.files import read_passport
from refacer.files.codes import read_codes, read_offsets
from refacer.networks.hyperstyle import HyperConfig, HyperStyle, hyper_config_for, layer_names
from refacer.networks.stylegan2.networks import Generator, GeneratorConfig
from refacer.stages.offsets import drawn_with
from refacer.weights import cache
from refacer.weights.convert import convert
from refacer.weights.formats.states import shapes_of
from refacer.weights.pairs import load_pair
from tests.tiny import tiny_generator
from tests.weights import writers

CPU = torch.device("cpu")
FFHQ = {
    **dict.fromkeys((0, 2, 3, 5, 6, 8, 9, 11, 12), (512, 512)), 14: (256, 512), 15: (256, 256), 17: (128, 256),
    18: (128, 128), 20: (64, 128), 21: (64, 64), 23: (32, 64), 24: (32, 32),
}  # fmt: skip


def tiny_hyperstyle(generator: Generator) -> HyperStyle:
    """For a generator whose layers have 16 channels at 4 and 8 pixels; two passes."""
    names, state = layer_names(generator.config), generator.state_dict()
    layers = {index: tuple(state[names[index]].shape[:2]) for index in (0, 2, 3, 5, 9)}
    torch.manual_seed(0)
    network = HyperStyle(HyperConfig(
        generator.num_ws, generator.w_dim, layers, 64, 16, (1, 1, 1, 1), (8, 16, 24, 32), (1, 1, 1, 1), (8, 16, 24, 32),
        8, 8, 2,
    ))  # fmt: skip
    network.latent_avg.copy_(generator.mapping.w_avg.expand_as(network.latent_avg))
    return network.eval().requires_grad_(False)


def files_of(network: HyperStyle, generator: Generator) -> dict[str, bytes]:
    """Both published files; the shared weights stand in the state under each block that uses them, too."""
    state = network.state_dict()
    hyper = {name: value for name, value in state.items() if name.startswith("hypernet.")}
    for index in network.config.layers:
        if network.config.is_shared(index):
            for part in ("w1", "b1", "w2", "b2"):
                shared = hyper[f"hypernet.shared_weight_hypernet.{part}"]
                hyper[f"hypernet.refinement_blocks.{index}.hypernet.{part}"] = shared
    decoder = {f"decoder.{name}": value for name, value in writers.rosinality(generator)["g_ema"].items()}
    encoder = {name: value for name, value in state.items() if name.startswith("encoder.")}
    opts, average = {"output_size": generator.img_resolution, "n_iters_per_batch": 2}, state["latent_avg"]
    contents = {
        "hyperstyle": {"state_dict": {**hyper, **decoder}, "opts": opts, "latent_avg": average},
        "hyperstyle-w": {"state_dict": {**encoder, **decoder}, "opts": opts, "latent_avg": average},
    }
    return {name: writers.torch_file(content) for name, content in contents.items()}


@pytest.fixture
def installed(pair, tmp_path, monkeypatch) -> HyperStyle:
    """A network for the tiny pair's generator, installed from its two files."""
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "home"))
    generator = load_pair(str(pair)).generator("real", CPU)
    network = tiny_hyperstyle(generator)
    for name, data in files_of(network, generator).items():
        (tmp_path / f"{name}.pt").write_bytes(data)
        made = convert(tmp_path / f"{name}.pt", name)
        hashes = {file: hashlib.sha256(content).hexdigest() for file, content in made.files.items()}
        cache.put(cache.Record(name, "ab" * 32, 1, "import", name, made.notes, hashes), made.files)
    return network


def test_the_published_layers_change():
    generator = GeneratorConfig(img_resolution=1024)
    config = hyper_config_for(generator, "real", full=True)
    assert config == replace(HyperConfig(18, 512, FFHQ), code=512)
    compact = hyper_config_for(generator, "rendering", full=False)
    assert compact.layers == config.layers
    shapes = shapes_of(lambda: HyperStyle(compact))
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) < 40e6


def test_the_published_sizes():
    shapes = shapes_of(lambda: HyperStyle(HyperConfig(18, 512, FFHQ)))

    def millions(part: str) -> float:
        return sum(torch.Size(shape).numel() for name, shape in shapes.items() if name.startswith(part)) / 1e6

    assert millions("encoder.") == pytest.approx(31.24, abs=0.01)
    assert millions("hypernet.") == pytest.approx(332.68, abs=0.01)


def test_offsets_travel_with_the_code(installed, cli, stages, pair, tmp_path):
    """`decode` in another call draws with the same weights as the network itself."""
    face, codes = stages / "display.face.png", tmp_path / "c.npy"
    ended = cli("project", face, "-o", codes, "--inverter", "hyperstyle", "--into", "real")
    assert ended.code == 0, ended.err
    assert np.load(codes).shape == (1, 10, 16)
    offsets = read_offsets(codes)
    assert offsets is not None
    assert len(offsets) == 5
    record = read_passport(codes).faces[0].stages[-1]
    assert set(record.models) == {"real", "encoder", "w_encoder"}
    generator = load_pair(str(pair)).generator("real", CPU)
    given = {name: torch.from_numpy(value.copy()) for name, value in offsets.items()}
    with torch.no_grad():
        plain = generator.synthesis(torch.from_numpy(np.load(codes)), noise_mode="const")
        changed = drawn_with(generator, torch.from_numpy(np.load(codes)), given, noise_mode="const")
    assert (plain - changed).abs().max() > 0.05
    ended = cli("decode", codes, "-o", tmp_path / "x.png", "--psi", 1)
    assert ended.code == 0, ended.err
    drawn = np.asarray(Image.open(tmp_path / "x.png")).astype(float)
    expected = ((changed[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(drawn - expected).max() < 1.0
    ended = cli("decode", codes, "-o", tmp_path / "y.png", "--pair", "studio")
    assert ended.code == 4, ended.err


def test_a_weight_changes_by_its_share():
    generator, name = tiny_generator(frozen=True), "synthesis.b8.conv0.weight"
    weight = generator.state_dict()[name]
    share = torch.rand(1, *weight.shape[:2], 1, 1)
    code = generator.mapping(torch.randn(1, 8))
    found = drawn_with(generator, code, {name: share}, noise_mode="const")
    generator.get_parameter(name).data.mul_(1 + share[0])
    torch.testing.assert_close(found, generator.synthesis(code, noise_mode="const"))


@pytest.mark.parametrize(("offsets", "words"), [
    ({"synthesis.b64.conv0.weight": (1, 8, 8, 3, 3)}, "which this generator does not have"),
    ({"synthesis.b8.conv0.weight": (1, 8, 7, 3, 3)}, "1 codes of this generator need"),
    ({"mapping.fc0.weight": (1, 8, 8)}, "which this generator does not have"),
])  # fmt: skip
def test_offsets_of_another_generator_are_refused(offsets, words):
    generator = tiny_generator(frozen=True)
    with pytest.raises(ShapeMismatch, match=words):
        drawn_with(generator, torch.zeros(1, 6, 8), {name: torch.zeros(shape) for name, shape in offsets.items()})


def test_shared_weights_that_differ_are_refused(pair, tmp_path):
    generator = load_pair(str(pair)).generator("real", CPU)
    content = torch.load(_written(files_of(tiny_hyperstyle(generator), generator), tmp_path), weights_only=True)
    name = "hypernet.refinement_blocks.0.hypernet.w1"
    content["state_dict"][name] = content["state_dict"][name].clone()
    (tmp_path / "other.pt").write_bytes(writers.torch_file(content))
    with pytest.raises(InputRefused, match="is not the shared one"):
        convert(tmp_path / "other.pt")


def _written(files: dict[str, bytes], folder):
    (folder / "h.pt").write_bytes(files["hyperstyle"])
    return folder / "h.pt"


def test_codes_without_offsets_have_none(stages):
    assert read_offsets(stages / "display.codes.npy") is None
    assert read_codes(stages / "display.codes.npy")[0].shape == (1, 10, 16)
