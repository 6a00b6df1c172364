"""Checkpoints: two are kept, a damaged one falls back, none can run code."""

import pickle
import zipfile

import pytest
import torch

from refacer.errors import InputRefused
from refacer.training.checkpoint import checkpoints, decode_checkpoint, load_latest, save_checkpoint


def _state(images_seen: int) -> dict:
    return {"images_seen": images_seen, "weights": torch.full([3], float(images_seen))}


def test_the_last_two_are_kept(tmp_path):
    for images in (8, 16, 24):
        save_checkpoint(tmp_path, _state(images))
    assert [p.name for p in checkpoints(tmp_path)] == ["state-000000016.pt", "state-000000024.pt"]
    state, damaged = load_latest(tmp_path)
    assert state is not None
    assert state["images_seen"] == 24
    assert not damaged


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, keep):
    save_checkpoint(tmp_path, _state(8))
    newest = save_checkpoint(tmp_path, _state(16))
    newest.write_bytes(newest.read_bytes()[:keep])
    state, damaged = load_latest(tmp_path)
    assert state is not None
    assert state["images_seen"] == 8
    assert damaged == [newest]


@pytest.mark.parametrize("content", [[1], {"images_seen": "8"}, {"weights": 3}, None])
def test_another_file_of_torch_is_no_state(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputRefused, match="damaged checkpoint"):
        decode_checkpoint((tmp_path / "other.pt").read_bytes(), tmp_path / "other.pt")


def test_a_state_packed_by_another_method_and_damaged_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("state/data.pkl", bytes(2000))
    damaged = bytearray(path.read_bytes())
    damaged[45:50] = b"\xff" * 5
    with pytest.raises(InputRefused, match="damaged checkpoint"):
        decode_checkpoint(bytes(damaged), path)


def test_no_checkpoint_is_no_error(tmp_path):
    assert load_latest(tmp_path) == (None, [])


def test_a_pickle_that_names_a_function_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "state-000000001.pt"
    torch.save({"images_seen": 1, "x": Hostile()}, path, pickle_module=pickle)
    with pytest.raises(InputRefused):
        decode_checkpoint(path.read_bytes(), path)
    assert not (tmp_path / "owned").exists()
