"""`refacer finetune --rule`: each rule from an untrained base to a pair that says by which rule it was made."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.errors import InputRefused, UsageError, WeightsMissing
from refacer.files import write_atomic
from refacer.finetuning.rules.rule import NO_FILES, TextFiles
from refacer.finetuning.run import Training
from refacer.finetuning.style import StyleRecipe
from refacer.options import RULE_DEFAULTS, FinetuneOptions, NetworkOptions
from refacer.weights import cache
from refacer.weights.bases import encode_base, fresh_networks
from refacer.weights.convert import convert
from refacer.weights.pairs import load_pair
from tests.networks.test_clip import MERGES, small_clip
from tests.weights.writers import torch_file

SHORT = {"batch": 2, "kimg": 0.004, "tick_kimg": 0.002, "sample_count": 2, "aug": "none"}
SIZES = NetworkOptions(16, channel_base=128, channel_max=8, z_dim=8, w_dim=8, mapping_layers=2)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with faces and an untrained base of 16 pixels."""
    rng = np.random.default_rng(0)
    (tmp_path / "faces").mkdir()
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"faces/{i}.png")
    torch.manual_seed(0)
    for name, data in encode_base(*fresh_networks(SIZES), {"licence": "CC0-1.0", "commercial": "yes"}).items():
        write_atomic(tmp_path / "base" / name, data)
    return tmp_path


@pytest.fixture
def clip(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small CLIP, installed, and its list of merges."""
    monkeypatch.setenv("REFACER_HOME", str(place / "home"))
    (place / "clip.bin").write_bytes(torch_file(small_clip().state_dict()))
    made = convert(place / "clip.bin", "clip")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in made.files.items()}
    cache.put(cache.Record("clip", "ab" * 32, 1, "import", "clip", made.notes, hashes), made.files)
    (place / "merges.txt").write_text("\n".join(MERGES))
    return place / "merges.txt"


def trained(place: Path, name: str, rule: str, files: TextFiles = NO_FILES, *, faces: bool = True, **more: object):
    options = FinetuneOptions(**{**RULE_DEFAULTS[rule], **SHORT, "rule": rule, **more})  # type: ignore[arg-type]
    sources = [place / "faces"] if faces else []
    recipe = StyleRecipe(sources, str(place / "base"), options, device="cpu", files=files)
    Training(recipe, place / name, quiet=True).go("auto")
    return json.loads((place / name / "pair.json").read_text()).get("rule")


def last_tick(folder: Path) -> dict:
    return json.loads((folder / "log.jsonl").read_text().splitlines()[-1])


def shown(folder: Path) -> str:
    """All that a run tells people, but for the pictures inside its page."""
    page = (folder / "report.html").read_text()
    for picture in page.split('src="data:image/png;base64,')[1:]:
        page = page.replace(picture.split('"')[0], "")
    names = ("log.txt", "log.jsonl", "config.json", "pair.json")
    return page + "".join((folder / name).read_text() for name in names)


def test_agile(place):
    assert trained(place, "run", "agile") == "AgileGAN's second stage"
    tick = last_tick(place / "run")
    assert tick["weighted"]["loss/similarity"] == pytest.approx(0.5 * tick["means"]["loss/similarity"])
    pair = load_pair(str(place / "run"))
    real, copy = (pair.generator(role, torch.device("cpu")).state_dict() for role in ("real", "rendering"))
    changed = {name for name, tensor in real.items() if not torch.equal(tensor, copy[name])}
    assert not [name for name in changed if name.startswith("mapping.")]
    assert [name for name in changed if ".torgb." in name]


def test_without_clip_examples_guide_and_nothing_says_nada(place):
    assert trained(place, "run", "nada") == "image-guided (EfficientNet-Lite0)"
    assert "image-guided (EfficientNet-Lite0)" in (place / "run/log.txt").read_text()
    assert "nada" not in shown(place / "run").lower()
    assert set(last_tick(place / "run")["means"]) == {"loss/direction"}
    before = (place / "run/rendering.safetensors").read_bytes()
    assert trained(place, "run", "image-guided") == "image-guided (EfficientNet-Lite0)", "the same run goes on"
    assert (place / "run/rendering.safetensors").read_bytes() == before


def test_a_text_needs_clip(place):
    with pytest.raises(WeightsMissing, match="refacer weights pull clip"):
        trained(place, "run", "nada", text="Rendered avatar")
    assert not (place / "run").exists()


def test_by_text_without_pictures_and_then_by_the_kept_direction(place, clip):
    label = trained(place, "run", "nada", TextFiles(vocabulary=clip), faces=False, text="phot", source_text="cat")
    assert label == "StyleGAN-NADA by text (CLIP)"
    assert "from 'cat' to 'phot'" in (place / "run/log.txt").read_text()
    again = trained(place, "run", "nada", faces=False, text="phot", source_text="cat", kimg=0.006)
    assert again == label, "goes on without the list of merges"
    assert last_tick(place / "run")["images_seen"] == 6
    kept = place / "run/direction.safetensors"
    trained(place, "other", "nada", TextFiles(direction=kept), faces=False, kimg=0.006)
    first, second = ((place / name / "rendering.safetensors").read_bytes() for name in ("run", "other"))
    assert first == second
    with pytest.raises(UsageError, match=r"--text \(phot there, fac here\)"):
        trained(place, "run", "nada", faces=False, text="fac", source_text="cat")


def test_what_a_text_lacks_is_told(place, clip):
    with pytest.raises(UsageError, match=r"--vocabulary FILE"):
        trained(place, "run", "nada", faces=False)
    (place / "short.txt").write_text("p h")
    with pytest.raises(InputRefused, match="makes 515 tokens, CLIP knows 522"):
        trained(place, "run", "nada", TextFiles(vocabulary=place / "short.txt"), faces=False)
    with pytest.raises(InputRefused, match="holds no direction"):
        trained(place, "run", "nada", TextFiles(direction=clip), faces=False)
    with pytest.raises(UsageError, match="too long a text"):
        trained(place, "long", "nada", TextFiles(vocabulary=clip), faces=False, text="cat " * 40)


@pytest.mark.parametrize(("options", "words"), [
    ({"rule": "agile", "sketch_weight": 1.0}, "read by --rule paper alone"),
    ({"rule": "agile", "text": "x"}, "--text: read by --rule nada alone"),
    ({"rule": "other"}, "choose among paper, agile, nada, image-guided"),
    ({"rule": "agile", "from_scratch": True}, "leave out --from-scratch"),
])  # fmt: skip
def test_options_that_do_not_fit(place, options, words):
    own = RULE_DEFAULTS.get(str(options["rule"]), {})
    with pytest.raises(UsageError, match=words):
        StyleRecipe([place / "faces"], str(place / "base"), FinetuneOptions(**{**own, **options}), device="cpu")


def test_the_command_takes_a_rule_s_defaults_and_says_where_faces_are_needed(cli, place):
    call = ("finetune", "-o", place / "run", "--base", place / "base", "--dry-run")
    ended = cli(*call, place / "faces", "--rule", "nada", "--batch", 4)
    assert ended.code == 0, ended.err
    options = json.loads(ended.out)["options"]
    assert (options["rule"], options["batch"], options["kimg"], options["pl_weight"]) == ("image-guided", 4, 0.602, 0)
    assert json.loads(cli(*call, place / "faces").out)["options"]["kimg"] == 40
    ended = cli(*call[:-1], "--rule", "agile")
    assert (ended.code, "name the folders or zips of faces" in ended.err) == (2, True)
