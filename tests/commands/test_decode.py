from dataclasses import replace

import numpy as np
import pytest

from refacer.engine import Refacer
from refacer.errors import InputRefused
from refacer.files import encode_codes, read_passport, read_source
from refacer.files.artefacts import Latents


@pytest.fixture
def many(tmp_path):
    """A file of three codes that no passport goes with."""
    codes = np.random.default_rng(0).standard_normal((3, 10, 16)).astype(np.float32)
    path = tmp_path / "many.npy"
    np.save(path, codes)
    return path


def pixels(path):
    return read_source(path, max_pixels=10**6).native


def test_the_passport_goes_on(cli, stages, tmp_path):
    assert cli("decode", stages / "display.codes.npy", "-o", tmp_path / "real.png").code == 0
    assert (tmp_path / "real.png").read_bytes() == (stages / "display.real.png").read_bytes()
    assert [s.stage for s in read_passport(tmp_path / "real.png").faces[0].stages] == ["align", "project", "decode"]


def test_several_codes_of_one_file(cli, many, tmp_path):
    assert cli("decode", many, "-o", tmp_path / "faces").code == 0
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names == ["many.000.png", "many.001.png", "many.002.png"]
    assert cli("decode", many, "-o", tmp_path / "faces").code == 0, "made by us, so it may be written again"
    assert cli("decode", many, "-o", tmp_path / "face.png").code == 2
    assert cli("decode", stdin=many.read_bytes()).code == 2


def test_codes_of_a_pipe_and_of_other_files_are_drawn_as_those_of_a_file(cli, many, tmp_path):
    codes = np.load(many)
    np.savez_compressed(tmp_path / "many.npz", w=codes)
    np.save(tmp_path / "turned.npy", np.asfortranarray(codes))
    assert cli("decode", many, "-o", tmp_path / "faces/").code == 0
    wanted = [path.read_bytes() for path in sorted((tmp_path / "faces").iterdir())]
    for name in ("many.npz", "turned.npy"):
        out = tmp_path / f"of {name[:4]}"
        assert cli("decode", tmp_path / name, "-o", f"{out}/").code == 0
        assert [path.read_bytes() for path in sorted(out.iterdir())] == wanted
    assert cli("decode", "-o", f"{tmp_path}/piped/", stdin=many.read_bytes()).code == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "piped").iterdir())] == wanted
    assert cli("decode", "-o", f"{tmp_path}/piped/", stdin=many.read_bytes()).code == 0, "up to date"


def test_each_code_keeps_its_own_part_of_the_passport(cli, stages, tmp_path):
    one = Latents.read(stages / "display.codes.npy")
    assert one.passport is not None
    (face,) = one.passport.faces
    both = replace(one.passport, faces=(face, replace(face, index=1)))
    Latents(np.concatenate([one.values, one.values]), both).save(tmp_path / "two.npy")
    Latents(np.concatenate([one.values, one.values]), one.passport).save(tmp_path / "unknown.npy")
    for name in ("two", "unknown"):
        assert cli("decode", tmp_path / f"{name}.npy", "-o", f"{tmp_path}/out/").code == 0
    faces = [read_passport(tmp_path / f"out/two.{i:03d}.png").faces[0] for i in (0, 1)]
    assert [found.index for found in faces] == [face.index, 1]
    assert not read_passport(tmp_path / "out/unknown.000.png").faces[0].landmarks, "a face of no known place"


@pytest.mark.parametrize("cut", [1, 700, 64 * 3, 40])
def test_a_pipe_that_is_cut_draws_nothing(cli, many, tmp_path, cut):
    ended = cli("decode", "-o", f"{tmp_path}/out/", stdin=many.read_bytes()[:-cut])
    assert (ended.code, ended.err.count("\n")) == (5, 1)
    assert "more than the file holds" in ended.err
    assert not list(tmp_path.glob("out/*.png"))


def test_codes_are_drawn_one_by_one(cli, many, tmp_path, monkeypatch):
    """The first results lie there when the last code has not been drawn: none is kept."""
    drawn = Refacer.decode_all

    def draw(self, latents, **options):
        if latents.values[0, 0, 0] == np.load(many)[2, 0, 0]:
            raise InputRefused("the last one")
        return drawn(self, latents, **options)

    monkeypatch.setattr(Refacer, "decode_all", draw)
    assert cli("decode", many, "-o", tmp_path / "faces").code == 5
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["many.000.png", "many.001.png"]


def test_noise_seed_and_truncation_change_pixels(cli, stages, tmp_path):
    def draw(*options):
        assert cli("decode", stages / "display.codes.npy", "-o", tmp_path / "x.png", *options).code == 0
        return pixels(tmp_path / "x.png").tobytes()

    drawn = [draw(), draw("--into", "rendering"), draw("--psi", "0.5")]
    assert len(set(drawn)) == 3
    assert draw("--seed", "4") == drawn[0]
    assert cli("decode", stages / "display.codes.npy", "-o", tmp_path / "x.png", "--psi", "nan").code == 2


def test_the_pair_s_own_psi_is_that_of_its_realistic_generator(cli, stages, pair, tmp_path):
    def draw(*options):
        assert cli("decode", stages / "display.codes.npy", "-o", tmp_path / "x.png", *options).code == 0
        return pixels(tmp_path / "x.png").tobytes()

    assert draw() == draw("--psi", "0.8") != draw("--psi", "1")
    assert draw("--into", "rendering") == draw("--into", "rendering", "--psi", "1")
    real = ("--generator", pair / "real.safetensors")
    assert draw(*real) == draw(*real, "--psi", "1") == draw("--psi", "1")


def test_a_generator_from_a_file(cli, stages, pair, tmp_path):
    codes = stages / "display.codes.npy"
    assert cli("decode", codes, "-o", tmp_path / "x.png", "--generator", pair / "rendering.safetensors").code == 0
    assert cli("decode", codes, "-o", tmp_path / "y.png", "--into", "rendering").code == 0
    assert np.array_equal(pixels(tmp_path / "x.png"), pixels(tmp_path / "y.png"))
    assert cli("decode", codes, "-o", tmp_path / "z.png", "--generator", pair / "parser.safetensors").code == 5
    assert cli("decode", codes, "-o", tmp_path / "z.png", "--generator", pair / "nothing").code == 2


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((1, 4, 16), np.float32), 4),
        (np.full((1, 10, 16), np.inf, np.float32), 5),
        (np.full((1, 4, 16), np.nan, np.float32), 5),
        (np.array([{"a": 1}]), 5),
    ],
)
def test_content_is_judged_before_fit(cli, tmp_path, array, code):
    np.save(tmp_path / "c.npy", array)
    assert cli("decode", tmp_path / "c.npy", "-o", tmp_path / "x.png").code == code


def test_a_claim_of_terabytes(cli, tmp_path):
    data = encode_codes(np.zeros((1, 10, 16), np.float32), None).replace(
        b"(1, 10, 16), }    ", b"(999999999, 10, 16), }"
    )
    (tmp_path / "c.npy").write_bytes(data)
    assert cli("decode", tmp_path / "c.npy", "-o", tmp_path / "x.png").code == 5
