"""CLIP's towers, its tokens, and its file under the names that transformers gives it."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from refacer.errors import InputRefused
from refacer.networks.clip import MEAN, SCALE, Clip, ClipConfig
from refacer.networks.clip_tokens import Tokens
from refacer.weights import cache
from refacer.weights.convert import convert
from refacer.weights.formats.states import shapes_of
from refacer.weights.published import load_clip
from tests.weights.writers import torch_file

SMALL = ClipConfig(32, 16, 64, 2, 64, 2, 40, 522, 24)
MERGES = ["#version: 0.2", "p h", "o t", "ph ot", "phot o</w>", "a v", "c a", "ca t</w>", "f ac"]


def small_clip() -> Clip:
    torch.manual_seed(0)
    network = Clip(SMALL)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


def test_the_published_sizes():
    """151,277,313 parameters, as openai/clip-vit-base-patch32 states."""
    shapes = shapes_of(Clip)
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 151_277_313
    assert shapes["vision_model.pre_layrnorm.weight"] == (768,)
    assert shapes["text_model.embeddings.position_embedding.weight"] == (77, 512)


def test_pictures_are_normalised_and_keep_their_gradients():
    network, seen = small_clip(), []
    network.vision_model.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    mean = torch.tensor(MEAN).view(1, 3, 1, 1).expand(1, 3, 8, 8) * 2 - 1
    image = (mean + 2 * torch.tensor(SCALE).view(1, 3, 1, 1)).requires_grad_(True)
    network.embed(image).sum().backward()
    torch.testing.assert_close(seen[0], torch.ones(1, 3, 32, 32), rtol=0, atol=1e-5)
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_a_text_is_read_up_to_its_end_alone():
    network, end = small_clip(), SMALL.vocabulary - 1
    first = torch.tensor([[520, 5, 7, end, 0, 0], [520, 5, 8, end, 0, 0]])
    second = torch.tensor([[520, 5, 7, end, 9, 9], [520, 5, 8, end, 3, 1]])
    torch.testing.assert_close(network.embed_tokens(first), network.embed_tokens(second))
    a, b = network.embed_tokens(first)
    assert (a - b).abs().max() > 1e-3


def test_texts_become_the_most_merged_tokens():
    tokens = Tokens(MERGES)
    assert tokens.count == 512 + 8 + 2
    start, *inner, end = tokens.encode("  PHOTO \n a cat's  caca ")
    assert (start, end) == (520, 521)
    named = {number: word for word, number in tokens._numbers.items()}
    words = [named[number] for number in inner]
    assert words == ["photo</w>", "a</w>", "cat</w>", "'", "s</w>", "ca", "c", "a</w>"]
    assert len(tokens.encode("é")) == 4, "two bytes, each a token"


def test_what_is_no_list_of_merges_is_refused():
    for lines in ([], ["a b c"], ["{"]):
        with pytest.raises(InputRefused, match="list of merges"):
            Tokens(lines)


def _installed(data: bytes, tmp_path: Path, monkeypatch) -> Clip:
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "home"))
    (tmp_path / "model").write_bytes(data)
    made = convert(tmp_path / "model", "clip")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in made.files.items()}
    cache.put(cache.Record("clip", "ab" * 32, 1, "import", "clip", made.notes, hashes), made.files)
    return load_clip(torch.device("cpu"))


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_both_published_files_are_read(kind, tmp_path, monkeypatch):
    network = small_clip()
    state = {**network.state_dict(), "text_model.embeddings.position_ids": torch.arange(40)[None]}
    data = save(state) if kind == "safetensors" else torch_file(state)
    found = _installed(data, tmp_path, monkeypatch)
    assert found.config == dataclasses.replace(SMALL)
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(found.embed(image), network.embed(image))


@pytest.mark.parametrize("change", ["missing", "foreign", "misshapen", "nan"])
def test_a_file_that_is_not_wholly_clip_is_refused(change, tmp_path):
    state, name = dict(small_clip().state_dict()), "text_model.encoder.layers.1.mlp.fc2.weight"
    if change == "missing":
        del state[name]
    elif change == "foreign":
        state["text_model.more"] = torch.zeros(1)
    else:
        state[name] = torch.zeros(3) if change == "misshapen" else torch.full_like(state[name], torch.nan)
    (tmp_path / "model.safetensors").write_bytes(save(state))
    with pytest.raises(InputRefused) as caught:
        convert(tmp_path / "model.safetensors")
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)
