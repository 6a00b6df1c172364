"""The order of pictures depends on seed and position alone; bad pictures are reported and left out."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.errors import UsageError
from refacer.training.dataset import FaceDataset


def test_a_batch_is_a_function_of_seed_and_position(pictures):
    first, second = FaceDataset([pictures], 32, seed=3), FaceDataset([pictures], 32, seed=3)
    first.batch(0, 4)
    assert torch.equal(first.batch(9, 7), second.batch(9, 7))
    assert not torch.equal(first.batch(0, 12), FaceDataset([pictures], 32, seed=4).batch(0, 12))


def test_every_epoch_holds_every_picture_and_its_mirror_once(pictures):
    data = FaceDataset([pictures], 32, mirror=True)
    assert len(data) == 12
    plain = FaceDataset([pictures], 32, mirror=False)
    once = {p.numpy().tobytes() for p in plain.batch(0, 6)}
    expected = once | {p.flip(2).numpy().tobytes() for p in plain.batch(0, 6)}
    for epoch in range(2):
        assert {p.numpy().tobytes() for p in data.batch(12 * epoch, 12)} == expected


def test_a_zip_gives_the_same_pictures_as_its_folder(pictures, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(pictures.iterdir()):
            file.write(path, f"cg/{path.name}")
        file.writestr("people.jsonl", "{}\n")
    assert torch.equal(FaceDataset([archive], 32).batch(0, 5), FaceDataset([pictures], 32).batch(0, 5))


def test_reducing_averages_areas(tmp_path):
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 200
    Image.fromarray(checks).save(tmp_path / "checks.png")
    assert torch.unique(FaceDataset([tmp_path], 32).batch(0, 1)).tolist() == [100]


def test_bad_pictures_are_listed_and_left_out(pictures: Path):
    (pictures / "text.png").write_text("not a picture")
    Image.new("RGB", (40, 30)).save(pictures / "wide.png")
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:60])
    Image.new("CMYK", (40, 40)).save(pictures / "print.jpg")
    data = FaceDataset([pictures], 32, mirror=False)
    assert len(data) == 7
    assert sorted(Path(name).name for name, _ in data.refused) == ["cut.png", "text.png", "wide.png"]


def test_nothing_to_train_on_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no pictures"):
        FaceDataset([tmp_path], 32)
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(UsageError, match="none of 1"):
        FaceDataset([tmp_path], 32)
