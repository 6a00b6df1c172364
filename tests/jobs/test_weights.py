"""`refacer weights`, and the chain with installed weights: tiny networks in the containers of others."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from refacer.files import read_passport
from refacer.networks.landmarks import retinaface_network
from refacer.networks.parser import BiSeNetParser
from refacer.networks.perceptual import _vgg16_trunk
from refacer.networks.sketch import DeepFaceSketch, LineExtractor
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from refacer.weights import cache, registry
from refacer.weights.choices import choose
from refacer.weights.pairs import encode_files, load_pair

SIZE = {"img_resolution": 64, "channel_base": 512, "channel_max": 16}
ROOT = Path(__file__).parents[2]


def _writers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("weight_writers", ROOT / "tests/weights/writers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _face_finder() -> dict[str, torch.Tensor]:
    """RetinaFace's small network whose every output is a bias: the largest anchors are faces, looking ahead."""
    state = retinaface_network("mobile0.25", "cpu").state_dict()
    state |= {key: torch.zeros_like(value) for key, value in state.items() if "Head" in key}
    for level in range(2):
        state[f"ClassHead.{level}.conv1x1.bias"] = torch.tensor([9.0, -9.0] * 2)
    state["ClassHead.2.conv1x1.bias"] = torch.tensor([-9.0, 9.0, 9.0, -9.0])
    points = torch.tensor([-0.4, -0.3, 0.4, -0.3, 0.0, 0.0, -0.3, 0.5, 0.3, 0.5])
    state["LandmarkHead.2.conv1x1.bias"] = points.repeat(2)
    return {f"module.{key}": value for key, value in state.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Published files by name, of tiny or random networks."""
    writers, folder = _writers(), tmp_path_factory.mktemp("published")
    torch.manual_seed(3)
    generator = Generator(GeneratorConfig(**SIZE, z_dim=16, w_dim=16, mapping_layers=2))
    judge = Discriminator(DiscriminatorConfig(**SIZE))
    contents = {
        "ffhq": writers.snapshot(generator, judge),
        "bisenet": writers.torch_file(BiSeNetParser().network.state_dict()),
        "retinaface": writers.torch_file(_face_finder(), legacy=True),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


@pytest.fixture(scope="module", autouse=True)
def test_registry(files, tmp_path_factory):
    """The registry with the hashes of these files in place of the published ones."""
    text = registry.REGISTRY.read_text()
    for name, path in files.items():
        entry = registry.weight(name)
        text = text.replace(str(entry.sha256), hashlib.sha256(path.read_bytes()).hexdigest())
        text = text.replace(f"bytes = {entry.bytes}\n", f"bytes = {path.stat().st_size}\n")
    changed = tmp_path_factory.mktemp("registry") / "registry.toml"
    changed.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "REGISTRY", changed)
        yield


@pytest.fixture(scope="module")
def stocked(files, cli, test_registry, tmp_path_factory):
    """A home with ffhq, bisenet, retinaface and vgg16 installed."""
    home = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFACER_HOME", str(home))
        for path in files.values():
            ended = cli("weights", "import", path)
            assert ended.code == 0, ended.err
        torch.manual_seed(4)
        trunk = {f"features.{key}": value.half() for key, value in _vgg16_trunk().state_dict().items()}
        data = save(trunk, metadata={"refacer": json.dumps({"kind": "vgg16", "config": {}})})
        hashes = {"network.safetensors": hashlib.sha256(data).hexdigest()}
        record = cache.Record("vgg16", "0" * 64, len(data), "import", "vgg16", (), hashes)
        cache.put(record, {"network.safetensors": data})
    return home


@pytest.fixture
def home(stocked, monkeypatch) -> Path:
    monkeypatch.setenv("REFACER_HOME", str(stocked))
    return stocked


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty"


@pytest.fixture
def style(home, tmp_path) -> Path:
    """What finetune leaves: a rendering generator, the rest named by its hash."""
    base = load_pair("ffhq")
    torch.manual_seed(5)
    rendering = Generator(GeneratorConfig(**SIZE, z_dim=16, w_dim=16, mapping_layers=2))
    facts = {key: value for key, value in base.facts.items() if key not in ("networks", "format")}
    facts |= {"name": "style", "defaults": {"steps": 2, "lr": 0.05}}
    named = {role: base.sha256(role) for role in ("real", "discriminator")}
    folder = tmp_path / "style"
    folder.mkdir()
    for name, data in encode_files({"rendering": rendering}, facts, named).items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def small(tmp_path) -> Path:
    """A picture small enough for one anchor."""
    path = tmp_path / "small.png"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


# ------------------------------------------------------------ the commands


def test_list_names_what_is_here(cli, home):
    rows = {row["name"]: row for row in json.loads(cli("weights", "list", "--json").out)}
    assert [rows[name]["state"] for name in ("ffhq", "vgg16", "sketch", "dlib-landmarks")] == [
        "installed", "installed", "-", "package",
    ]  # fmt: skip
    assert (rows["ffhq"]["commercial"], rows["ffhq"]["role"]) == ("no", "generator")
    assert rows["ffhq"]["licence"] in cli("weights", "list").out.decode()


def test_list_says_the_same_of_every_weight(cli, files, empty):
    assert cli("weights", "import", files["retinaface"]).code == 0
    (empty / "weights/retinaface").rename(empty / "weights/mine")
    record = empty / "weights/mine/record.json"
    record.write_text(record.read_text().replace('"retinaface"', '"mine"', 1))
    rows = json.loads(cli("weights", "list", "--json").out)
    assert {frozenset(row) for row in rows} == {
        frozenset(
            ("name", "state", "bytes", "role", "commercial", "licence", "licence_url", "purpose", "sha256", "file",
             "format", "urls", "package")
        )
    }  # fmt: skip
    assert (rows[-1]["name"], rows[-1]["state"], rows[-1]["licence"]) == ("mine", "installed", "unstated")


def test_an_imported_generator_is_a_base(cli, home):
    pair = load_pair("ffhq")
    assert (pair.name, pair.resolution, pair.num_ws, pair.installed) == ("ffhq", 64, 10, True)
    assert pair.licence == "NVIDIA Source Code License"
    assert pair.w_std > 0
    assert pair.path("real").parent == home / "weights/ffhq"
    assert pair.has("discriminator")
    assert cli("weights", "where", "ffhq").out.decode().strip() == str(home / "weights/ffhq")


def test_verify_finds_what_was_changed(cli, files, empty):
    assert cli("weights", "import", files["retinaface"]).code == 0
    ended = cli("weights", "verify")
    packaged = ("dlib-landmarks", "dlib-recognition", "lpips-vgg", "efficientnet-lite0")
    assert (ended.code, ended.out.decode().split("\n")[:-1]) == (0, [f"{n}: ok" for n in ("retinaface", *packaged)])
    (empty / "weights/retinaface/network.safetensors").write_bytes(b"other")
    ended = cli("weights", "verify")
    assert (ended.code, ended.out.split(b"\n")[0]) == (5, b"retinaface: damaged")
    assert "refacer weights pull retinaface --force" in ended.err
    (empty / "weights/retinaface/record.json").write_text("{")
    (empty / "weights/mine").mkdir()
    ended = cli("weights", "verify")
    assert ended.code == 5
    assert "retinaface: record.json damaged; run `refacer weights pull retinaface --force`" in ended.err
    assert "mine: record.json damaged; run `refacer weights import FILE --as mine --force`" in ended.err
    assert cli("weights", "rm", "retinaface", "mine").code == 0
    assert cli("weights", "rm", "retinaface").code == 2
    assert not list((empty / "weights").iterdir())


def test_one_flipped_bit_is_found(cli, files, empty):
    assert cli("weights", "import", files["retinaface"]).code == 0
    path = empty / "weights/retinaface/network.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ended = cli("weights", "verify", "retinaface")
    assert (ended.code, ended.out) == (5, b"retinaface: damaged\n")


def test_a_pull_wants_the_licence_accepted(cli, empty, monkeypatch):
    pulled = []
    monkeypatch.setattr(
        "refacer.weights.install.pull", lambda entry, *_, **__: pulled.append(entry.name) or _made(entry)
    )
    ended = cli("weights", "pull", "ffhq", stdin=b"yes\n")
    assert ended.code == 2
    assert "--accept-licence" in ended.err
    assert cli("weights", "pull", "ffhq", "--accept-licence").code == 0
    assert cli("weights", "pull", "ffhq512", stdin=b"").code == 0  # the same licence, accepted before
    assert pulled == ["ffhq", "ffhq512"]


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 2)])
def test_at_a_terminal_the_licence_is_asked_about_once(cli, empty, monkeypatch, answer, code):
    asked = []
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text) or answer)
    monkeypatch.setattr("refacer.weights.install.pull", lambda entry, *_, **__: _made(entry))
    ended = cli("weights", "pull", "ffhq", "ffhq512", "bisenet")
    assert ended.code == code
    assert "Non-commercial" in ended.err
    titles = ["NVIDIA Source Code License", "MIT (code), trained on CelebAMask-HQ"]
    assert asked == [f"Accept {title}?" for title in titles[: 2 if answer else 1]]


def _made(entry):
    record = cache.Record(entry.name, "0" * 64, 1, "url", "stylegan2", (), {})
    return cache.Installed(Path(), record)


def test_offline_says_what_to_carry_over(cli, empty):
    ended = cli("weights", "pull", "ffhq", "vgg16", "--offline", "--accept-licence")
    assert ended.code == 8
    assert "refacer weights import FILE --as ffhq" in ended.err


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["pull", "ffqh"], 2, "did you mean ffhq"),
        (["import", "nothing.pkl"], 2, "does not exist"),
        (["where", "ffhq"], 8, "refacer weights pull ffhq"),
        (["where", "../.."], 2, "not a known weight"),
        (["rm", "../../home"], 2, "not a name for a weight"),
        (["rm", "/"], 2, "not a name for a weight"),
        (["rm", "ffhq"], 2, "not installed"),
        (["rm", "dlib-landmarks"], 2, "comes with face_recognition_models"),
        (["verify", "bisenet"], 8, "refacer weights pull bisenet"),
        (["licence", "nobody"], 8, "not installed"),
        (["import", str(Path(__file__))], 2, "--as NAME"),
        (["import", str(Path(__file__)), "--as", "ffhq"], 5, "not the published ffhq.pkl"),
        (["import", str(Path(__file__)), "--as", "mine"], 5, "test_weights.py"),
        (["import", "/dev/zero", "--as", "mine"], 5, "not a regular file"),
    ],
)
def test_what_goes_wrong_has_its_code_and_one_line(cli, empty, args, code, says):
    ended = cli("weights", *args)
    assert ended.code == code
    assert says in ended.err
    assert not list((empty / "weights").glob("*"))


def test_the_licence_of_a_pair_is_that_of_its_strictest_weight(cli, home, style, pair):
    chain = json.loads(cli("weights", "licence", style, "--json").out)
    assert chain["commercial_use"] == "no"
    named = {use["role"]: (use["name"], use["commercial"]) for use in chain["weights"]}
    assert named["real"] == ("ffhq", "no")
    assert named["rendering"] == ("style", "no")
    assert named["parser"] == ("bisenet", "unclear")
    assert named["perceptual"] == ("vgg16", "yes")
    assert named["landmarks"] == ("dlib-landmarks", "no")
    text = cli("weights", "licence", pair).out.decode()
    assert "not allowed, because of dlib-landmarks" in text
    assert "commercial use: allowed" in cli("weights", "licence", "vgg16").out.decode()


# ------------------------------------------------------------ the chain


def test_the_whole_chain_over_installed_weights(cli, home, style, small, tmp_path):
    """ffhq by its hash, LPIPS-VGG, BiSeNet, RetinaFace: passport and report name every one."""
    args = ("--pair", style, "--detector", "retinaface", "--faces", "largest", "--erode", "0")
    ended = cli("run", small, "-o", tmp_path / "out.png", "--report", tmp_path / "report", *args)
    assert ended.code == 0, ended.err
    stages = {stage.stage: stage.models for stage in read_passport(tmp_path / "out.png").faces[0].stages}
    network = {name: _installed_hash(name, "network.safetensors") for name in ("retinaface", "vgg16", "bisenet")}
    assert stages["align"] == {"detector": network["retinaface"]}
    assert stages["project"]["perceptual"] == network["vgg16"]
    assert stages["project"]["lpips"] == registry.weight("lpips-vgg").sha256
    assert stages["decode"] == {"real": _installed_hash("ffhq", "generator.safetensors")}
    assert stages["parse"] == {"parser": network["bisenet"]}
    summary = json.loads((tmp_path / "report").read_text().splitlines()[-1])
    uses = {use["role"]: use["name"] for use in summary["weights"]}
    assert uses == {
        "detector": "retinaface", "rendering": "style", "real": "ffhq", "perceptual": "vgg16", "lpips": "lpips-vgg",
        "parser": "bisenet",
    }  # fmt: skip
    assert summary["commercial_use"] == "no"


def test_the_pairs_own_networks_on_request(cli, home, style, small, tmp_path):
    face = tmp_path / "face.png"
    assert cli("align", small, "-o", face, "--detector", "retinaface", "--pair", style).code == 0
    args = ("project", face, "-o", tmp_path / "c.npy", "--pair", style, "--perceptual", "pair")
    assert cli(*args).code == 0
    models = read_passport(tmp_path / "c.npy").faces[0].stages[-1].models
    assert models["perceptual"] == registry.weight("efficientnet-lite0").sha256
    assert "lpips" not in models
    ended = cli("parse", face, "-o", tmp_path / "mask.png", "--pair", style, "--parser", "pair")
    assert (ended.code, "has no parser" in ended.err) == (0, True)
    assert cli("parse", face, "-o", tmp_path / "mask.png", "--pair", style).err == ""
    assert cli("parse", face, "-o", tmp_path / "mask.png", "--pair", style, "--parser", "parsenet").code == 8


def test_everything_missing_is_mended_by_one_command(cli, home, style, small, tmp_path, empty):
    args = ("--detector", "retinaface", "--perceptual", "lpips", "--parser", "bisenet")
    ended = cli("run", small, "-o", tmp_path / "x.png", "--pair", style, *args)
    assert ended.code == 8
    assert "run `refacer weights pull ffhq retinaface vgg16 bisenet`" in ended.err
    assert ended.err.count("\n") == 1
    for command in ("align", "run"):
        ended = cli(command, small, "-o", tmp_path / "x.png", "--detector", "retinaface")
        assert ended.code == 8
        assert "run `refacer weights pull retinaface`" in ended.err


@pytest.mark.parametrize("installed", [False, True])
def test_a_base_alone_draws_nothing_and_says_what_is_left_to_do(cli, small, tmp_path, request, installed):
    request.getfixturevalue("home" if installed else "empty")
    ended = cli("run", small, "-o", tmp_path / "x.png", "--pair", "ffhq")
    assert ended.code == 8
    assert ("finetune FACES --base ffhq" if installed else "refacer weights pull ffhq") in ended.err


def test_a_damaged_network_is_met_before_it_is_used(cli, home, style, small, tmp_path):
    path = home / "weights/ffhq/generator.safetensors"
    data = path.read_bytes()
    try:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        ended = cli("run", small, "-o", tmp_path / "x.png", "--pair", style, "--detector", "retinaface")
        assert ended.code == 5
        assert "refacer weights pull ffhq --force" in ended.err
    finally:
        path.write_bytes(data)


def _faces(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_finetune_starts_from_an_installed_generator(cli, home, small, tmp_path):
    """The run's pair names what is installed and holds only what is new; without S the log names the stand-in."""
    run = tmp_path / "run"
    short = ("--kimg", "0.004", "--batch", "4", "--tick", "0.004", "--aug", "none")
    ended = cli("finetune", _faces(tmp_path / "faces"), "-o", run, "--base", "ffhq", *short)
    assert ended.code == 0, ended.err
    assert "sketches (Eq. 1): lines (XDoG stand-in)" in ended.err
    networks = json.loads((run / "pair.json").read_text())["networks"]
    assert networks["real"] == {"sha256": _installed_hash("ffhq", "generator.safetensors"), "weight": "ffhq"}
    assert networks["discriminator"]["weight"] == "ffhq"
    assert [path.name for path in run.glob("*.safetensors")] == ["rendering.safetensors"]
    assert load_pair(str(run)).commercial == "no"
    args = ("--pair", run, "--detector", "retinaface", "--steps", "1", "--faces", "largest")
    assert cli("run", small, "-o", tmp_path / "x.png", *args).code == 0


def test_finetune_draws_with_the_published_extractor_where_it_is_installed(empty, monkeypatch):
    network = _tiny_sketch(monkeypatch)
    data = save(network.state_dict(), metadata={"refacer": json.dumps({"kind": "sketch", "config": {}})})
    assert isinstance(choose("sketch").load(torch.device("cpu")), LineExtractor)
    hashes = {"network.safetensors": hashlib.sha256(data).hexdigest()}
    cache.put(cache.Record("sketch", "ab" * 32, 1, "import", "sketch", (), hashes), {"network.safetensors": data})
    assert choose("sketch").description == f"DeepFaceEditing, sha256 {'ab' * 32}"
    extractor = choose("sketch").load(torch.device("cpu"))
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(extractor(images), network.eval()(images))
    assert isinstance(extractor, DeepFaceSketch)
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def _tiny_sketch(monkeypatch) -> DeepFaceSketch:
    """The published architecture with few channels and one residual block."""
    monkeypatch.setattr("refacer.networks.sketch.WIDTHS", (2, 3, 4, 5, 6))
    monkeypatch.setattr("refacer.networks.sketch.RESIDUAL_BLOCKS", 1)
    torch.manual_seed(6)
    return DeepFaceSketch()


def _installed_hash(name: str, file: str) -> str:
    found = cache.installed(name)
    assert found is not None
    return found.record.files[file]
