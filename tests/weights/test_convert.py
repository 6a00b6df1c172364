"""Public weight files: containers are read, networks told from one another, misfits refused in a line."""

import argparse
import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from refacer.errors import InputRefused, WeightsMissing
from refacer.files import encode_codes
from refacer.networks.landmarks import retinaface_network
from refacer.networks.sketch import DeepFaceSketch
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.networks.stylegan2.ops import setup_filter
from refacer.weights.convert import convert, load_generator_file
from refacer.weights.formats import recognise, rosinality
from refacer.weights.formats.containers import read_weights
from refacer.weights.formats.inert import LazyTensor, Storage
from refacer.weights.loaders import encode_network, encoder_config, load_discriminator, load_generator, read_network
from tests.weights import writers
from tests.weights.writers import Call, Name, easy_dict, persistent, pickled, snapshot, torch_file

DATA = Path(__file__).parents[1] / "data"
SIZES = {"img_resolution": 16, "channel_base": 64, "channel_max": 8}
GREY_LEVEL = 2 / 255


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, conv_clamp=256, **SIZES))
    made.mapping.w_avg.normal_()
    nn.init.constant_(made.get_parameter("synthesis.b8.conv0.noise_strength"), 0.5)
    return made.eval().requires_grad_(False)


@pytest.fixture
def judge() -> Discriminator:
    return Discriminator(DiscriminatorConfig(conv_clamp=256, **SIZES)).eval().requires_grad_(False)


@pytest.fixture
def write(tmp_path):
    """A function: bytes -> a file that holds them."""

    def to_file(data: bytes, name: str = "file.pkl") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return to_file


@pytest.fixture(scope="module")
def reference():
    """A generator of 64 pixels whose pictures are known, and those."""
    io_, state = np.load(DATA / "stylegan2_64_io.npz"), np.load(DATA / "stylegan2_64_g.npz")
    init = json.loads(str(io_["init"]).replace("'", '"'))
    init.pop("mbstd_group_size")
    made = Generator(GeneratorConfig(**init))
    made.load_state_dict({name: torch.from_numpy(state[name]) for name in state.files})
    return made.eval().requires_grad_(False), {
        name: torch.from_numpy(io_[name]) for name in io_.files if name != "init"
    }


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


def stored(converted, name: str, tmp_path: Path) -> Path:
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(converted.files[path.name])
    return path


def refused(path: Path, reader=convert) -> str:
    with pytest.raises(InputRefused) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_snapshot_draws_the_reference_pictures(reference, write):
    made, known = reference
    read = load_generator_file(write(snapshot(made)))
    assert read.config == made.config
    truncated = read.synthesis(known["w_truncated_07"], noise_mode="none")
    assert (truncated - known["image_none"]).abs().max() < GREY_LEVEL
    assert (read.synthesis(known["w"]) - known["image_const"]).abs().max() < GREY_LEVEL
    torch.testing.assert_close(read.mapping(known["z"], 0.7), known["w_truncated_07"], rtol=1e-4, atol=1e-4)


def test_the_same_through_rosinalitys_layout_and_back(reference, write):
    made, known = reference
    read = load_generator_file(write(torch_file(writers.rosinality(made)), "r.pt"))
    assert same(read, made)
    assert (read.synthesis(known["w_truncated_07"], noise_mode="none") - known["image_none"]).abs().max() < GREY_LEVEL


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(generator, judge, write, tmp_path, protocol):
    converted = convert(write(snapshot(generator, judge, protocol)), "stylegan2")
    assert (converted.kind, converted.notes) == ("stylegan2", ())
    assert same(load_generator(stored(converted, "generator", tmp_path)), generator)
    assert same(load_discriminator(stored(converted, "discriminator", tmp_path)), judge)


def test_flat_arguments_take_the_clamp_of_the_layers(generator, write):
    flat = writers.generator_kwargs(generator.config, flat=True)
    made = load_generator_file(write(pickled({"G_ema": persistent(generator, "Generator", flat)})))
    assert made.config == generator.config
    assert same(made, generator)


def test_positional_arguments_and_a_bare_module(generator, write):
    named = writers.generator_kwargs(generator.config)
    order = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
    rest = easy_dict({name: value for name, value in named.items() if name not in order})
    record = persistent(generator, "Generator", {}, _init_args=tuple(named[n] for n in order), _init_kwargs=rest)
    assert same(load_generator_file(write(pickled(record))), generator)


def test_a_frozen_discriminator_and_one_of_whole_batches(generator, judge, write, tmp_path):
    frozen = OrderedDict(
        (name, writers.tensor_call(t)) for name, t in judge.get_submodule("b16.conv0").state_dict().items()
    )
    kwargs = {**writers.discriminator_kwargs(judge.config), "epilogue_kwargs": {"mbstd_group_size": None}}
    record = persistent(judge, "Discriminator", kwargs)
    conv0 = record.arguments[0]["state"]["_modules"]["b16"].arguments[0]["state"]["_modules"]["conv0"]
    conv0.arguments[0]["state"].update(_parameters=OrderedDict(), _buffers=frozen)
    converted = convert(write(snapshot(generator, D=record)))
    assert same(load_discriminator(stored(converted, "discriminator", tmp_path)), judge)
    assert "groups of 4" in converted.notes[0]


def test_a_discriminator_that_does_not_fit_is_left_out(generator, judge, write):
    kwargs = {**writers.discriminator_kwargs(judge.config), "c_dim": 10}
    converted = convert(write(snapshot(generator, D=persistent(judge, "Discriminator", kwargs))))
    assert list(converted.files) == ["generator.safetensors"]
    assert "c_dim" in converted.notes[0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"c_dim": 5}, "c_dim"),
        ({"img_channels": 1}, "img_channels"),
        ({"img_resolution": 24}, "impossible"),
        ({"img_resolution": 1 << 40}, "img_resolution"),
        ({"w_dim": True}, "w_dim"),
        ({"z_dim": 9}, "shape"),
        ({"synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "architecture": "orig"}}, "architecture"),
        ({"synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "use_noise": False}}, "use_noise"),
        ({"mapping_kwargs": {"num_layers": 2, "lr_multiplier": 1}}, "lr_multiplier"),
        ({"mapping_kwargs": {"num_layers": 2, "layer_features": 16}}, "width"),
        ({"mapping_kwargs": {"num_layers": 3}}, "missing"),
        ({"mapping_kwargs": {"num_layers": 1}}, "not a part"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(generator, write, change, word):
    kwargs = {**writers.generator_kwargs(generator.config), **change}
    assert word in refused(write(pickled({"G_ema": persistent(generator, "Generator", kwargs)})))


def test_values_that_are_not_finite_are_refused(generator, write):
    generator.get_parameter("synthesis.b8.torgb.weight").view(-1)[0] = float("nan")
    assert "synthesis.b8.torgb.weight holds values that are not finite" in refused(write(snapshot(generator)))
    assert "finite" in refused(write(torch_file(writers.rosinality(generator))))


def test_other_generations_are_told_what_to_get_instead(generator, write):
    stylegan3 = nn.Module()
    stylegan3.synthesis = nn.Module()
    stylegan3.synthesis.input = nn.Linear(2, 2)
    record = persistent(stylegan3, "Generator", writers.generator_kwargs(generator.config))
    assert "StyleGAN3" in refused(write(pickled({"G_ema": record})), load_generator_file)
    tensorflow = Call(Name("dnnlib.tflib.network", "Network"), (), state={"version": 4}, new=True)
    for protocol in (2, 4):
        assert "ffhq.pkl" in refused(write(pickled((tensorflow,) * 3, protocol)))
    assert "without G_ema" in refused(write(pickled({"G": persistent(generator, "Generator", {})})))
    older = persistent(generator, "Generator", {})
    older.arguments[0]["version"] = 5
    assert "version 6" in refused(write(pickled({"G_ema": older})))


@pytest.mark.parametrize("legacy", [False, True])
def test_rosinalitys_checkpoints(generator, judge, write, tmp_path, legacy):
    content = writers.rosinality(generator, judge)
    content["g_optim"] = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.002}]}
    content["args"] = argparse.Namespace(path="x", batch=4)
    converted = convert(write(torch_file(content, legacy), "r.pt"))
    read = load_generator(stored(converted, "generator", tmp_path))
    assert (converted.kind, converted.notes) == ("stylegan2", ())
    for name, tensor in generator.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor), name
    assert read.config.conv_clamp is None, "rosinality clamps nothing"
    judged = load_discriminator(stored(converted, "discriminator", tmp_path))
    assert same(judged, judge)


def test_rosinalitys_names_are_the_published_ones(generator, judge):
    theirs, ours = rosinality.layout(generator), generator.state_dict()
    for name, equal, shape in (
        ("style.2.weight", "mapping.fc1.weight", (8, 8)),
        ("input.input", "synthesis.b4.const", (1, 8, 4, 4)),
        ("conv1.noise.weight", "synthesis.b4.conv1.noise_strength", (1,)),
        ("convs.2.conv.weight", "synthesis.b16.conv0.weight", (1, 4, 8, 3, 3)),
        ("convs.3.conv.modulation.bias", "synthesis.b16.conv1.affine.bias", (4,)),
        ("convs.3.activate.bias", "synthesis.b16.conv1.bias", (4,)),
        ("noises.noise_3", "synthesis.b16.conv0.noise_const", (1, 1, 16, 16)),
        ("to_rgb1.bias", "synthesis.b4.torgb.bias", (1, 3, 1, 1)),
        ("to_rgbs.1.conv.weight", "synthesis.b16.torgb.weight", (1, 3, 4, 1, 1)),
        ("latent_avg", "mapping.w_avg", (8,)),
    ):
        assert tuple(theirs[name].shape) == shape, name
        assert torch.equal(theirs[name].flatten(), ours[equal].flatten()), name
    theirs, ours = rosinality.layout(judge), judge.state_dict()
    for name, equal in (
        ("convs.0.1.bias", "b16.fromrgb.bias"), ("convs.1.conv1.0.weight", "b16.conv0.weight"),
        ("convs.2.conv2.2.bias", "b8.conv1.bias"), ("convs.2.skip.1.weight", "b8.skip.weight"),
        ("final_conv.0.weight", "b4.conv.weight"), ("final_linear.1.weight", "b4.out.weight"),
    ):  # fmt: skip
        assert torch.equal(theirs[name], ours[equal]), name


def test_what_a_checkpoint_does_not_bring_is_derived_and_said(generator, write):
    content = writers.rosinality(generator)
    del content["latent_avg"]
    content["g_ema"] = {f"module.{k}": v for k, v in content["g_ema"].items() if not k.startswith("noises")}
    converted = convert(write(torch_file(content)))
    assert ["noise maps" in note for note in converted.notes] == [True, False, False]
    read = load_generator_file(write(torch_file(content)))
    mean = generator.mapping(torch.randn(4000, 8))[:, 0].mean(0)
    assert (read.mapping.w_avg - mean).abs().max() < 0.1 * generator.mapping(torch.randn(100, 8)).std()
    assert same(read, load_generator_file(write(torch_file(content)))), "the same each time"


def test_other_architectures_in_rosinalitys_layout_are_refused(generator, write):
    content = writers.rosinality(generator)
    state = content["g_ema"]
    blurred = {**state, "convs.0.conv.blur.kernel": setup_filter((1.0, 2.0, 2.0, 1.0))}
    wide = {**state, "convs.0.conv.weight": torch.zeros(1, 9, 8, 3, 3)}
    for changed, word in (
        (blurred, "blur"), (wide, "shape"), ({**state, "more.weight": torch.zeros(1)}, "not a part"),
        ({k: v for k, v in state.items() if k != "to_rgb1.bias"}, "missing"),
    ):  # fmt: skip
        assert word in refused(write(torch_file({**content, "g_ema": changed})))


@pytest.mark.parametrize(("kind", "opts"), [
    ("e4e", dict), ("psp", argparse.Namespace), ("restyle-psp", dict), ("restyle-e4e", argparse.Namespace),
])  # fmt: skip
def test_encoders_keep_their_options_and_give_their_decoder(generator, write, tmp_path, kind, opts):
    content = writers.encoder(kind, generator, opts, n_iters_per_batch=3)
    converted = convert(write(torch_file(content)))
    assert converted.kind == kind
    assert same(load_generator(stored(converted, "generator", tmp_path)).mapping, generator.mapping)
    state, config = read_network(stored(converted, "network", tmp_path), kind)
    assert state.keys() == {*(name for name in content["state_dict"] if name.startswith("encoder.")), "latent_avg"}
    assert config["options"]["output_size"] == 16
    assert "exp_dir" not in config["options"]
    assert "output_size: 16" in converted.notes
    network = encoder_config(config["network"])
    assert (network.num_ws, network.w_dim, network.input_px) == (6, 8, 64)
    assert (network.units, network.widths) == ((1, 2, 1, 1), (8, 16, 24, 32))
    looped = kind.startswith("restyle")
    assert (network.coarse, network.fine, network.passes) == ((6, 6, 3) if looped else (2, 4, 1))
    assert load_generator_file(write(torch_file(content))).config.img_resolution == 16


def test_an_encoder_that_does_not_fit_is_refused(generator, write):
    content = writers.encoder("psp", generator)
    state = content["state_dict"]
    for changed, words in (
        ({"latent_avg": None}, "its average code (latent_avg) is missing"),
        ({"latent_avg": torch.zeros(5, 8)}, "latent_avg has shape (5, 8); it must be (6, 8)"),
        ({"opts": {**content["opts"], "learn_in_w": True}}, "was trained in W"),
        ({"opts": {**content["opts"], "encoder_type": "BackboneEncoder"}}, "is not a part of it"),
        ({"state_dict": {k: v for k, v in state.items() if "latlayer2.bias" not in k}}, "latlayer2.bias is missing"),
        ({"state_dict": {k: v for k, v in state.items() if "body" not in k}}, "does not look like psp"),
    ):
        assert words in refused(write(torch_file({k: v for k, v in {**content, **changed}.items() if v is not None})))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_detector_keeps_its_published_names(write, tmp_path, legacy):
    network = retinaface_network("mobile0.25", "cpu")
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    converted = convert(write(torch_file(state, legacy), "detection_mobilenet0.25_Final.pth"), "retinaface")
    read, config = read_network(stored(converted, "network", tmp_path), "retinaface")
    assert config == {"network": "mobile0.25"}
    network.load_state_dict(read)
    with pytest.raises(InputRefused, match="holds retinaface, not bisenet"):
        convert(write(torch_file(state)), "bisenet")
    del state["module.fpn.merge1.0.weight"]
    assert "looks like retinaface, but fpn.merge1.0.weight is missing" in refused(write(torch_file(state)))
    assert "no StyleGAN2 generator" in refused(write(torch_file(state)), load_generator_file)


def described(shapes) -> dict[str, LazyTensor]:
    """A state of these shapes that has no numbers."""
    state = {}
    for name, shape in shapes.items():
        steps = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        state[name] = LazyTensor(Storage(torch.float32, int(np.prod(shape))), 0, tuple(shape), tuple(steps))
    return state


@pytest.mark.parametrize(
    ("kind", "build", "millions"),
    [
        ("bisenet", recognise._bisenet, 13.3), ("parsenet", recognise._parsenet, 21.3),
        ("sketch", DeepFaceSketch, 45.6),
        ("vgg16", recognise._vgg16, 138.4), ("alexnet", recognise._alexnet, 61.1),
        ("ir_se50", None, 43.8), ("curricularface", None, 65.2),
    ],
)  # fmt: skip
def test_each_network_is_told_from_the_others(kind, build, millions):
    shapes = recognise.shapes_of(build) if build else recognise.ir_shapes(kind)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) / 1e6 == pytest.approx(millions, rel=3e-3)
    found = recognise.recognise(described(shapes))
    assert found == (kind, {})
    name, shape = next((n, s) for n, s in shapes.items() if len(s) == 4)
    with pytest.raises(InputRefused, match="must be"):
        recognise.recognise(described({**shapes, name: (*shape[:3], 9)}))


def test_inception_is_told_by_its_size():
    names = {f"c{i}.conv.weight": (1,) for i in range(93)} | {"Mixed_5b.branch1x1.conv.weight": (64, 192, 1, 1)}
    assert recognise.recognise(described({**names, "fc.weight": (1008, 2048)})) == ("inception", {})
    with pytest.raises(InputRefused, match="FID"):
        recognise.recognise(described({**names, "fc.weight": (1000, 2048)}))


def test_jittors_container(write):
    state = {"model.1.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "f": np.asfortranarray(np.eye(3)[:, :2])}
    read = read_weights(write(writers.jittor_file(state)))
    for name, array in state.items():
        assert torch.equal(read[name].lazy.tensor(), torch.from_numpy(array)), name
    damaged = bytearray(writers.jittor_file(state))
    damaged[40] ^= 1
    assert "sha1" in refused(write(bytes(damaged)))
    assert "does not know" in refused(write(writers.jittor_file(state)))
    variables = {"v": Call(Name("jittor_core", "Var"), (np.ones(2, np.float32),))}
    assert read_weights(write(pickled(variables)))["v"].lazy.tensor().tolist() == [1, 1]


@pytest.mark.parametrize("legacy", [False, True, None])
def test_tensors_of_every_kind_come_back_as_they_were(write, legacy):
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "transposed": base.t(), "part": base[1:3, 2:], "half": base.half(), "brain": base.bfloat16(),
        "double": base.double(), "long": base.long(), "bool": base > 3, "byte": base.byte(),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "parameter": nn.Parameter(base.clone()),
        "size": base.shape, "several": [1, 2.5, None, True, "x", b"y", {"a"}, (1,)],
    }  # fmt: skip
    data = pickled(content, 3) if legacy is None else torch_file(content, legacy)
    if legacy is None:  # torch's own nested storages
        data = pickle.dumps(content)
    read = read_weights(write(data))
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(read[name].tensor(), value), name
    assert read["size"] in ((4, 6), ((4, 6),))
    assert read["several"] == content["several"]


def test_numpy_arrays_of_every_writer(write):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for data in [pickle.dumps({"a": array, "s": np.float64(0.25)}, p) for p in range(6)]:
        for text in (data, data.replace(b"numpy._core", b"numpy.core")):
            if b"numpy.core" in text and text[1:2] > b"\x03":
                continue  # the shorter name would need another length before it
            read = read_weights(write(text))
            assert torch.equal(read["a"].lazy.tensor(), torch.from_numpy(array))
            assert read["s"] == 0.25


def test_our_own_files_and_files_that_are_none(generator, judge, write, tmp_path):
    ours = write(encode_network(generator, "generator", generator.config.to_dict(), half=False), "g.safetensors")
    assert same(load_generator_file(ours), generator)
    assert convert(ours).kind == "stylegan2"
    for reader in (convert, load_generator_file):
        with pytest.raises(WeightsMissing):
            reader(tmp_path / "nothing.pkl")
    for data in (b"", b"x", b"PK\x03\x04", b"\x80", b"HCAJSLHD", np.zeros(40).tobytes(), b"<html>too many downloads"):
        refused(write(data))
    refused(write(pickled({"a": 1})))
    refused(write(pickled([1, 2])))
    assert "follows its end" in refused(write(snapshot(generator) + b"more"))
    assert "weights that refacer knows" in refused(write(pickled({})))


def test_zip_archives_that_are_no_state_dicts(generator, write):
    def packed(names, method=zipfile.ZIP_STORED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, data in names.items():
                archive.writestr(name, data)
        return file.getvalue()

    pickle_ = pickled({"a": 1}, 2)
    assert "TorchScript" in refused(write(packed({"x/data.pkl": pickle_, "x/constants.pkl": b"", "x/code/a.py": b""})))
    assert "PyTorch did not write" in refused(write(packed({"readme.txt": b"hello"})))
    bomb = packed({"x/data.pkl": pickle_, "x/data/0": bytes(10_000_000)}, zipfile.ZIP_DEFLATED)
    assert "claims more" in refused(write(bomb))
    assert "compressed" in refused(write(packed({"x/data.pkl": pickle_}, zipfile.ZIP_DEFLATED)))
    assert "big-endian" in refused(write(packed({"x/data.pkl": pickle_, "x/byteorder": b"big"})))
    module = torch_file({"g_ema": {"a": Call}})
    assert "mentions tests.weights.writers Call" in refused(write(module))


def test_decode_draws_with_a_pickle(cli, generator, write, tmp_path):
    codes = tmp_path / "codes.npy"
    codes.write_bytes(encode_codes(generator.mapping(torch.randn(1, 8)).numpy(), None))
    ended = cli("decode", codes, "-o", tmp_path / "x.png", "--generator", write(snapshot(generator), "ffhq.pkl"))
    assert (ended.code, ended.err) == (0, "")
    again = cli(
        "decode", codes, "-o", tmp_path / "y.png", "--generator", write(torch_file(writers.rosinality(generator)))
    )
    assert again.code == 0
    hostile = write(pickled({"G_ema": Call(Name("os", "system"), (f"touch {tmp_path / 'marker'}",))}), "bad.pkl")
    ended = cli("decode", codes, "-o", tmp_path / "z.png", "--generator", hostile)
    assert ended.code == 5
    assert ended.err.count("\n") == 1
    assert "os system" in ended.err
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "z.png").exists()
