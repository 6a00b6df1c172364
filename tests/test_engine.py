"""The front door: what is exported, and that it gives the same bytes as the command line."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refacer
from refacer.files import Source, encode_display, read_source
from refacer.images.pixels import paste_blend, snap
from refacer.options import PASTED_CLASSES, Choices, CompositeOptions, DecodeOptions, ProjectOptions
from refacer.stages.composite import composite
from refacer.stages.decode import decode
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.project import project

LIMIT = 10**6


@pytest.fixture(scope="module")
def studio(pair) -> refacer.Refacer:
    return refacer.Refacer(pair, "cpu")


@pytest.fixture(scope="module")
def result(studio, stages) -> refacer.Result:
    return studio.run(stages / "look.png")


@pytest.fixture(scope="module")
def deep(look) -> np.ndarray:
    """The figure with 16 bits and an alpha channel that is neither opaque nor empty."""
    rng = np.random.default_rng(0)
    color = np.asarray(Image.open(look)).astype(np.uint16) * 257
    color[..., 0] ^= rng.integers(0, 256, color.shape[:2], dtype=np.uint16)
    alpha = np.full((*color.shape[:2], 1), 65535, np.uint16)
    alpha[:15] = 32768
    return np.concatenate([color, alpha], axis=2)


def test_what_is_exported_is_there_and_sorted():
    assert refacer.__all__ == sorted(refacer.__all__)
    assert all(getattr(refacer, name) for name in refacer.__all__)
    assert {"run", "Refacer", "load_pair", "RefacerError"} <= set(refacer.__all__)
    assert Path(refacer.__file__).with_name("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute"):
        _ = refacer.nothing  # pyright: ignore[reportAttributeAccessIssue]


def test_importing_is_light():
    script = "import sys, refacer; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert not {name.split(".")[0] for name in done.stdout.split()} & {"torch", "numpy", "cv2", "PIL", "dlib", "rich"}


def test_run_writes_the_bytes_of_the_command_line(result, stages, tmp_path):
    result.save(tmp_path / "look.real.png")
    assert (tmp_path / "look.real.png").read_bytes() == (stages / "look.real.png").read_bytes()
    (face,) = result.faces
    kept = {
        "face.png": face.face.encode(),
        "codes.npy": face.latents.encode(),
        "real.png": face.real.encode(),
        "mask.png": face.mask.encode(),
    }
    for name, data in kept.items():
        assert data == (stages / f"display.{name}").read_bytes(), name
    assert result.passport.faces[0].stages[-1].stage == "composite"


def test_alpha_and_16_bits_are_those_of_the_command_line(studio, deep, cli, tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(encode_display(deep, Source(deep), "PNG", None))
    assert cli("run", path, "-o", tmp_path / "cli.png").code == 0
    result = studio.run(deep)
    result.save(tmp_path / "python.png")
    pixels, ours = (read_source(tmp_path / name, max_pixels=LIMIT) for name in ("cli.png", "python.png"))
    assert np.array_equal(pixels.native, ours.native)
    assert np.array_equal(result.image, ours.native)
    assert result.image.dtype == np.uint16
    assert pixels.passport == ours.passport


def test_stage_by_stage_gives_the_pixels_of_run(studio, result, deep, stages):
    for picture, finished in ((stages / "look.png", result), (deep, studio.run(deep))):
        (face,) = studio.align(picture)
        real = studio.decode(studio.project(face))
        image = studio.composite(picture, real, studio.parse(real))
        assert np.array_equal(image, finished.image)
        assert np.array_equal(studio.composite(picture, real), image)


def test_a_pil_image_comes_back_as_one(studio, result, stages):
    with Image.open(stages / "look.png") as picture:
        finished = studio.run(picture).image
    assert isinstance(finished, Image.Image)
    assert np.array_equal(np.asarray(finished), result.image)


def test_a_turned_pil_image_is_seen_upright(studio, stages):
    with Image.open(stages / "look.png") as picture:
        turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[274] = 6
    assert np.array_equal(np.asarray(studio.run(turned).image), np.asarray(studio.run(stages / "look.png").image))


def test_arrays_of_codes_and_files_are_taken(studio, result, stages):
    code = np.load(stages / "display.codes.npy")
    assert np.array_equal(studio.decode(code).pixels, result.faces[0].real.pixels)
    assert np.array_equal(studio.decode(str(stages / "display.codes.npy")).pixels, result.faces[0].real.pixels)
    assert [face.pixels.shape for face in studio.decode_all(refacer.Latents(np.repeat(code, 2, 0)))] == [
        (64, 64, 3)
    ] * 2


def test_choices_are_the_options_of_run(cli, pair, look, tmp_path):
    chosen = {"steps": 1, "seed": 3, "color": "none", "mask": "none", "psi": 0.5, "faces": "largest"}
    options = [part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert cli("run", look, "-o", tmp_path / "x.png", *options).code == 0
    refacer.run(look, pair, "cpu", **chosen).save(tmp_path / "y.png")
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()


def test_every_choice_is_an_option_of_run(cli):
    told = cli("run", "--help").out.decode()
    for field in fields(Choices):
        assert f"--{field.name.replace('_', '-')} " in told, field.name


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (np.zeros((4, 4), np.uint8), refacer.UsageError),
        (np.zeros((4, 4, 3), np.float32), refacer.UsageError),
        (np.zeros((0, 4, 3), np.uint8), refacer.InputRefused),
        (b"no picture", refacer.InputRefused),
        (3, refacer.UsageError),
        ("not-there.png", refacer.UsageError),
        (np.zeros((80, 90, 3), np.uint8), refacer.NoFace),
    ],
)
def test_what_is_no_picture_is_said_to_be_so(studio, picture, error):
    with pytest.raises(error):
        studio.run(picture)


def test_wrong_choices_and_codes(pair, studio, stages):
    with pytest.raises(refacer.UsageError, match="colour"):
        refacer.Refacer(pair, colour="none")
    wrong: dict[str, Any] = {"way": "sideways", "color": "blue", "steps": -1, "strength": float("nan"), "lr": -1.0}
    for name, value in wrong.items():
        with pytest.raises(refacer.UsageError, match=name):
            refacer.Refacer(pair, "cpu", **{name: value})
    with pytest.raises(refacer.UsageError, match="--steps 0"):  # an encoder's code needs none, and there is none here
        refacer.Refacer(pair, "cpu", steps=0).project(studio.align(stages / "look.png")[0])
    with pytest.raises(refacer.UsageError, match="wings"):
        refacer.Refacer(pair, classes="wings").run(stages / "look.png")
    with pytest.raises(refacer.ShapeMismatch):
        studio.decode(np.zeros((2, 10, 16), np.float32))
    with pytest.raises(refacer.ShapeMismatch):
        studio.project(stages / "look.png")
    with pytest.raises(refacer.PassportMismatch):
        studio.composite(stages / "look.png", np.zeros((8, 8, 3), np.uint8))


def test_the_paper_s_own_way_is_one_option_away(pair, stages):
    """Eq. 4 alone, no truncation, the nine parts of Appendix B, Eq. B1 without a match of colours."""
    alone = {"init": "mean", "axes": "codes", "prior": 0, "psi": 1}
    studio = refacer.Refacer(pair, "cpu", way="project", paste="face", color="none", **alone)
    result = studio.run(stages / "look.png")
    equipment, source = studio.equipment, studio.read(stages / "look.png")
    look, (face,) = studio.tensor(source), studio.align(source)
    options = ProjectOptions(steps=equipment.pair.defaults.steps, lr=equipment.pair.defaults.lr)
    found = project(studio.tensor(face.source), equipment.rendering, equipment.perceptual, equipment.w_std, options)
    real = snap(decode(found.codes, equipment.real, DecodeOptions()))
    mask = mask_from_labels(parse(real, equipment.parser), PASTED_CLASSES)
    quad = face.passport.faces[0].quad
    blend = composite(look, real, mask[:, None], quad, CompositeOptions(color="none", paste="face"))
    wanted = source.rgb.copy()
    paste_blend(wanted, blend.top, blend.left, blend.pixels, blend.alpha)
    assert np.array_equal(result.image, wanted)
