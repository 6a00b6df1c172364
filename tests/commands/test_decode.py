import numpy as np
import pytest

from refacer.files import encode_codes, read_passport, read_source


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
