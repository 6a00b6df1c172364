"""The order of pictures depends on seed and position alone; bad pictures are reported and left out."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from refacer.errors import InputRefused, UsageError
from refacer.training import dataset
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


def _png16(path: Path, side: int) -> None:
    rng = np.random.default_rng(7)
    assert cv2.imwrite(str(path), rng.integers(0, 65536, (side, side, 3), dtype=np.uint16))


def _unusual(folder: Path) -> None:
    """A picture of every kind that is not 8-bit RGB of 32 pixels, and files that are none."""
    rng = np.random.default_rng(1)
    plain = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    plain.save(folder / "plain.png")
    plain.convert("L").save(folder / "grey.png")
    plain.convert("CMYK").save(folder / "cmyk.jpg")
    rgba = plain.convert("RGBA")
    rgba.putalpha(Image.fromarray(np.full((32, 32), 100, np.uint8)))
    rgba.save(folder / "alpha.png")
    Image.fromarray(rng.integers(0, 65536, (32, 32), dtype=np.uint16)).save(folder / "grey16.png")
    _png16(folder / "deep.png", 32)
    plain.resize((48, 48)).save(folder / "large.png")
    plain.resize((16, 16)).save(folder / "small.png")
    plain.crop((0, 0, 32, 20)).save(folder / "wide.png")
    whole = (folder / "plain.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.png").write_bytes(whole[:-40] + bytes([whole[-40] ^ 255]) + whole[-39:])
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()


def test_every_unusual_picture_is_reported_and_none_stops_the_set(tmp_path):
    _unusual(tmp_path)
    data = FaceDataset([tmp_path], 32, mirror=False)
    assert {Path(n).name for n, _ in data.refused} == {"wide.png", "cut.png", "flipped.png", "empty.png"}
    changes: dict[str, list[str]] = {}
    for name, change in data.converted:
        changes.setdefault(Path(name).name, []).append(change.split(",")[0])
    assert changes == {
        "grey.png": ["grey"], "cmyk.jpg": ["CMYK"], "alpha.png": ["alpha"], "grey16.png": ["grey", "16 bits"],
        "deep.png": ["16 bits"], "large.png": ["48 pixels"], "small.png": ["16 pixels"],
    }  # fmt: skip
    assert data.batch(0, len(data)).shape == (8, 3, 32, 32)


def test_damaged_members_of_a_zip_are_left_out(pictures, tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(pictures.iterdir()):
            file.write(path, path.name)
    with zipfile.ZipFile(archive) as file:
        place = file.getinfo("1.png").header_offset + 60
    data = bytearray(archive.read_bytes())
    data[place] ^= 255
    archive.write_bytes(data)
    assert [name.partition("::")[2] for name, _ in FaceDataset([archive], 32).refused] == ["1.png"]
    archive.write_bytes(data[:-30])
    with pytest.raises((InputRefused, UsageError)):
        FaceDataset([archive], 32)


def test_a_set_too_large_to_keep_is_decoded_ahead_and_gives_the_same(pictures, monkeypatch):
    kept = FaceDataset([pictures], 32).batch(0, 20)
    monkeypatch.setattr(dataset, "CACHE_BYTES", 0)
    data = FaceDataset([pictures], 32)
    assert torch.equal(data.batch(0, 8), kept[:8])
    data.prepare(range(8, 20))
    assert torch.equal(data.batch(8, 12), kept[8:])


def test_a_file_that_goes_bad_during_training_is_replaced_by_the_next(pictures, monkeypatch):
    monkeypatch.setattr(dataset, "CACHE_BYTES", 0)
    data = FaceDataset([pictures], 32, mirror=False)
    before = {data._index(i): picture for i, picture in enumerate(data.batch(0, 6))}
    (pictures / "2.png").write_bytes(b"gone")
    (pictures / "5.png").unlink()
    for _ in range(2):
        after = {data._index(i): picture for i, picture in enumerate(data.batch(0, 6))}
        assert all(torch.equal(after[i], before[{2: 3, 5: 0}.get(i, i)]) for i in range(6))
    assert sorted(Path(name).name for name, _ in data.refused) == ["2.png", "5.png"]


def test_the_hash_is_of_the_pictures_in_use_wherever_they_are(pictures, tmp_path):
    first = FaceDataset([pictures], 32).sha256
    moved = pictures.rename(tmp_path / "elsewhere")
    assert FaceDataset([moved], 32).sha256 == first
    (moved / "text.png").write_text("not a picture")
    assert FaceDataset([moved], 32).sha256 == first
    (moved / "0.png").unlink()
    assert FaceDataset([moved], 32).sha256 != first
