import numpy as np
from PIL import Image

from refacer.files import read_mask, read_passport

LIMIT = 10**6


def test_the_mask_is_that_of_run(cli, stages, tmp_path):
    assert cli("parse", stages / "display.real.png", "-o", tmp_path / "mask.png").code == 0
    assert (tmp_path / "mask.png").read_bytes() == (stages / "display.mask.png").read_bytes()
    assert read_passport(tmp_path / "mask.png").faces[0].stages[-1].stage == "parse"


def test_labels_hold_what_the_mask_is_made_of(cli, stages, tmp_path):
    assert cli("parse", stages / "display.real.png", "-o", tmp_path / "labels.png", "--labels").code == 0
    passport = read_passport(tmp_path / "labels.png")
    mask, _ = read_mask(stages / "display.mask.png", max_pixels=LIMIT)
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.mode == "P"
        labels = np.array(picture)
    assert labels.shape == mask.shape == (64, 64)
    assert passport.faces[0].stages[-1].parameters == {"labels": True}
    pasted = np.isin(labels, (1, 2, 4, 7, 10, 11, 12, 13, 17))
    assert mask[pasted].mean() > 2 * mask[~pasted].mean()


def test_classes_choose_the_parts(cli, stages, tmp_path):
    assert cli("parse", stages / "display.real.png", "-o", tmp_path / "mask.png", "--classes", "hat, cloth").code == 0
    assert read_passport(tmp_path / "mask.png").faces[0].stages[-1].parameters == {"classes": ["hat", "cloth"]}
    ended = cli("parse", stages / "display.real.png", "-o", tmp_path / "x.png", "--classes", "wings")
    assert ended.code == 2
    assert "wings" in ended.err


def test_only_faces_are_parsed(cli, look, tmp_path):
    assert cli("parse", look, "-o", tmp_path / "mask.png").code == 4
