import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refacer.files import Source, encode_display, read_source
from refacer.files.spaces import srgb_light
from refacer.stages.project import Optimiser

LIMIT = 10**6


def views_in(page):
    """Of each picture, how many comparisons its page holds."""
    found = re.findall(r'class="views" id="views-\d+">(.*)</script>', page.read_text())
    return [len(json.loads(text)) for text in found]


def test_a_page_shows_what_was_done_and_what_was_up_to_date(cli, tmp_path, look, two):
    shots, page = tmp_path / "shots", tmp_path / "pages/report.html"
    shots.mkdir()
    shutil.copy(look, shots / "a.png")
    shutil.copy(two, shots / "b.png")
    for status in ("done", "skipped"):
        assert cli("run", shots, "-o", tmp_path / "out", "--report", page).code == 0
        assert views_in(page) == [2, 3]  # each face, and the whole
        assert page.read_text().count(f'"status": "{status}"') == 2


@pytest.mark.parametrize("way", ["translate", "project"])
def test_pictures_side_by_side_become_the_same_files(cli, tmp_path, look, two, monkeypatch, way):
    shots = tmp_path / "shots"
    shots.mkdir()
    for name, path in (("a.png", look), ("b.png", two), ("c.png", look)):
        shutil.copy(path, shots / name)
    for at_once in (1, 3):
        monkeypatch.setattr("refacer.equipment.Equipment.at_once", lambda *_, count=at_once, **_choice: count)
        assert cli("run", shots, "-o", tmp_path / f"out{at_once}", "--way", way).code == 0
    for name in ("a.png", "b.png", "c.png"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out3" / name).read_bytes()


class Alike:
    """A network that finds every face alike; tiny faces are none for the real one."""

    def compare(self, before, after):
        return 0.25 if before.shape == after.shape == (1, 3, 64, 64) else None


def test_identity_is_measured_where_that_is_asked_for(cli, tmp_path, two, monkeypatch):
    monkeypatch.setattr("refacer.jobs.identity.FaceIdentity._network", Alike())
    report = tmp_path / "report"
    for asked, expected in (((), None), (("--identity",), [0.25, 0.25])):
        assert cli("run", two, "-o", tmp_path / "x.png", "--report", report, *asked).code == 0
        assert json.loads(report.read_text().splitlines()[0]).get("identity") == expected


def pixels(path):
    return read_source(path, max_pixels=LIMIT).native


def test_run_is_the_chain_of_its_stages(cli, stages, tmp_path):
    """The same pixels and the same passport, in every artefact."""
    look = stages / "look.png"
    steps = [
        ("align", [look], "face.png"),
        ("project", [tmp_path / "face.png"], "codes.npy"),
        ("decode", [tmp_path / "codes.npy"], "real.png"),
        ("parse", [tmp_path / "real.png"], "mask.png"),
        ("composite", [look, tmp_path / "real.png", "--mask", tmp_path / "mask.png"], "done.png"),
    ]
    for command, inputs, output in steps:
        assert cli(command, *inputs, "-o", tmp_path / output).code == 0
    for name in ("face.png", "codes.npy", "real.png", "mask.png"):
        assert (tmp_path / name).read_bytes() == (stages / f"display.{name}").read_bytes(), name
    assert (tmp_path / "done.png").read_bytes() == (stages / "look.real.png").read_bytes()


@pytest.fixture
def shots(look, two, bare, tmp_path):
    """A folder of a good picture, one in a sub-folder, one without a face and one that is none."""
    folder = tmp_path / "shots"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(look, folder / "look.png")
    Image.open(two).save(folder / "sub/two.jpg", quality=97)
    shutil.copy(bare, folder / "bare.png")
    (folder / "torn.png").write_bytes(b"\x89PNG")
    return folder


def statuses(cli, *args):
    ended = cli("run", *args, "--json")
    results = json.loads(ended.out)["results"]
    return ended.code, {result["input"].rpartition("/")[2]: result["status"] for result in results}


def test_a_folder_goes_on_where_it_stopped(cli, shots, tmp_path):
    out = tmp_path / "out"
    report = tmp_path / "out/report.ndjson"
    code, first = statuses(cli, shots, "-o", out, "--report", report)
    assert (code, first) == (1, {"bare.png": "failed", "look.png": "done", "two.jpg": "done", "torn.png": "failed"})
    items = [json.loads(line) for line in report.read_text().splitlines()]
    assert [item.get("exit_code") for item in items] == [3, 0, 5, 0, 1]
    assert [len(item["distance"]) for item in items if item.get("status") == "done"] == [1, 2]
    assert items[-1]["licence"] == "CC0-1.0"
    before = (out / "look.png").stat().st_mtime_ns
    assert statuses(cli, shots, "-o", out)[1]["look.png"] == "skipped"
    assert (out / "look.png").stat().st_mtime_ns == before
    (out / "look.png").unlink()
    code, again = statuses(cli, shots, "-o", out)
    assert (again["look.png"], again["two.jpg"]) == ("done", "skipped")


def test_what_changes_the_result_is_done_again(cli, look, two, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(two, folder / "two.png")

    def status(*options):
        code, found = statuses(cli, folder, "-o", out, *options)
        assert code == 0
        return found["two.png"]

    assert status() == "done"
    assert status("--faces", "0,1") == "skipped"
    for options in (["--faces", "largest"], ["--faces", "1"], ["--mask", "none"], ["--seed", "3"]):
        assert (status(*options), status(*options)) == ("done", "skipped"), options
    assert status("--seed", "3", "--batch", "2", "--device", "cpu", "--quiet") == "skipped"
    assert status("--seed", "3", "--force") == "done"
    shutil.copy(look, folder / "two.png")
    assert status("--seed", "3") == "done"
    Image.new("RGB", (8, 8)).save(out / "two.png")
    assert statuses(cli, folder, "-o", out)[0] == 7
    assert pixels(out / "two.png").shape == (8, 8, 3)


def test_one_file_is_always_done(cli, stages, tmp_path):
    args = ("run", stages / "look.png", "-o", tmp_path / "x.png", "--json")
    assert [json.loads(cli(*args).out)["done"] for _ in range(2)] == [1, 1]


def test_no_mask_no_mask_file(cli, look, tmp_path):
    assert cli("run", look, "-o", tmp_path / "x.png", "--mask", "none", "--keep-stages", tmp_path / "k").code == 0
    names = sorted(path.name for path in (tmp_path / "k").iterdir())
    assert names == ["display.codes.npy", "display.face.png", "display.real.png"]


def test_depth_alpha_and_what_is_behind_it_are_kept(cli, look, tmp_path):
    rng = np.random.default_rng(0)
    color = np.asarray(Image.open(look)).astype(np.uint16) * 257
    color[..., 0] ^= rng.integers(0, 256, color.shape[:2], dtype=np.uint16)
    alpha = np.full((*color.shape[:2], 1), 65535, np.uint16)
    alpha[:15], alpha[200:] = 0, 32768
    native = np.concatenate([color, alpha], axis=2)
    path = tmp_path / "deep.png"
    path.write_bytes(encode_display(native, Source(native), "PNG", None))
    assert cli("run", path, "-o", tmp_path / "x.png").code == 0
    after = pixels(tmp_path / "x.png")
    assert (after.dtype, after.shape) == (native.dtype, native.shape)
    assert np.array_equal(after[..., 3], native[..., 3])
    assert np.array_equal(after[:15], native[:15])
    assert np.array_equal(after[200:], native[200:])
    assert (after[..., :3] != native[..., :3]).any()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_in_grey_out_in_its_own_mode(cli, look, tmp_path, dtype, alpha):
    grey = np.asarray(Image.open(look).convert("L")).astype(dtype) * (1 if dtype == np.uint8 else 257)
    native = np.dstack([grey] * 3 + [np.full(grey.shape, np.iinfo(dtype).max, dtype)] * alpha)
    kinds = {"RGB": Source(native), "L": Source(native, grey=True)}
    for name, source in kinds.items():
        path, out = tmp_path / f"{name}.png", tmp_path / f"{name}.out.png"
        path.write_bytes(encode_display(native, source, "PNG", None))
        assert cli("run", path, "-o", out).code == 0
        before, after = read_source(path, max_pixels=LIMIT), read_source(out, max_pixels=LIMIT)
        assert (after.grey, after.native.dtype, after.has_alpha) == (source.grey, dtype, alpha)
        assert not np.array_equal(after.native, before.native)
        assert after.colorless
    assert np.array_equal(pixels(tmp_path / "L.out.png"), pixels(tmp_path / "RGB.out.png"))


def test_formats(cli, look, tmp_path):
    Image.open(look).save(tmp_path / "look.jpg")
    ended = cli("run", tmp_path / "look.jpg", "-o", f"{tmp_path}/out/")
    assert (ended.code, ended.err) == (0, "")
    assert read_source(tmp_path / "out/look.png", max_pixels=LIMIT).format == "PNG"
    assert "JPEG" in cli("run", tmp_path / "look.jpg", "-o", tmp_path / "x.jpg").err
    assert cli("run", tmp_path / "look.jpg", "-o", tmp_path / "x.gif").code == 2


def test_a_generator_that_is_no_partner(cli, look, tmp_path):
    from refacer.networks.stylegan2.networks import Generator, GeneratorConfig
    from refacer.weights.loaders import encode_network

    shape = GeneratorConfig(img_resolution=32, channel_base=256, channel_max=8, z_dim=16, w_dim=16, mapping_layers=2)
    (tmp_path / "small.safetensors").write_bytes(encode_network(Generator(shape), "generator", shape.to_dict()))
    ended = cli("run", look, "-o", tmp_path / "x.png", "--generator", tmp_path / "small.safetensors")
    assert ended.code == 4
    assert "one pair" in ended.err


def test_linear_light_is_seen_as_what_it_shows(cli, look, tmp_path):
    """The same face as that of the picture in sRGB, put back into linear light; all other samples as they were."""
    plain = np.asarray(Image.open(look).convert("RGB"))
    linear = np.rint(srgb_light(plain / 255) * 65535).astype(np.uint16)
    told = Source(linear, color=((b"gAMA", (100_000).to_bytes(4)),))
    path, out = tmp_path / "linear.png", tmp_path / "linear.out.png"
    path.write_bytes(encode_display(linear, told, "PNG", None))
    assert cli("run", path, "-o", out).code == 0
    assert cli("run", look, "-o", tmp_path / "plain.out.png").code == 0
    wanted, after = pixels(tmp_path / "plain.out.png"), read_source(out, max_pixels=LIMIT)
    assert after.color == told.color
    assert np.abs(after.rgb.astype(int) - wanted).max() <= 1
    assert np.array_equal(after.native[-100:], linear[-100:])


def test_a_folder_may_take_its_own_results(cli, look, tmp_path):
    figure = Image.open(look).convert("RGB")
    figure.save(tmp_path / "a.jpg", quality=95)
    code, first = statuses(cli, tmp_path, "-o", tmp_path)
    assert (code, first) == (0, {"a.jpg": "done"})
    figure.save(tmp_path / "b.webp", lossless=True)
    assert statuses(cli, tmp_path, "-o", tmp_path) == (0, {"a.jpg": "skipped", "b.webp": "done"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "b.png", "b.webp"]
    ended = cli("run", *sorted(tmp_path.iterdir()), "-o", tmp_path)
    assert ended.code == 0
    assert "2 results of an earlier call are no inputs" in ended.err
    assert statuses(cli, tmp_path / "a.png", "-o", f"{tmp_path}/") == (0, {})
    figure.save(tmp_path / "b.png")
    assert "would be overwritten" in cli("run", tmp_path, "-o", tmp_path).err


def test_what_is_left_out_is_said_and_reported(cli, look, tmp_path):
    figure = Image.open(look).convert("RGB")
    (tmp_path / "in").mkdir()
    figure.save(tmp_path / "in/two.tif", save_all=True, append_images=[figure.rotate(90)])
    figure.save(tmp_path / "in/one.tif")
    (tmp_path / "in/layers.psd").write_bytes(b"8BPS")
    ended = cli("run", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert json.loads(ended.out)["left_out"] == {".psd": 1}
    assert ended.err.count("in/two.tif: holds 2 pictures") == ended.err.count("1 files left out") == 1
    assert ended.err.count("warning") == 2
    told = {Path(result["input"]).name: result.get("warnings", []) for result in json.loads(ended.out)["results"]}
    assert (len(told["two.tif"]), told["one.tif"]) == (1, [])
    ended = cli("run", tmp_path / "in", "-o", tmp_path / "out", "--json", "--force", "--quiet")
    assert "holds 2 pictures" in ended.out.decode()


def test_an_empty_mask_is_told(cli, look, stages, tmp_path):
    ended = cli("run", look, "-o", tmp_path / "x.png", "--classes", "hat", "--json")
    assert ended.code == 0
    assert "display.png: face 0: its mask is empty" in ended.err
    assert "its mask is empty" in json.loads(ended.out)["results"][0]["warnings"][0]
    assert np.array_equal(pixels(tmp_path / "x.png"), pixels(look))
    Image.new("L", (64, 64)).save(tmp_path / "mask.png")
    args = (stages / "look.png", stages / "display.real.png", "--mask", tmp_path / "mask.png", "-o", tmp_path / "y.png")
    assert "its mask is empty" in cli("composite", *args).err


def test_a_face_far_smaller_than_the_largest_is_told(cli, look, two, tmp_path):
    figure = Image.open(look).convert("RGB")
    sheet = figure.resize((900, 1200), Image.Resampling.LANCZOS)
    sheet.paste(figure, (0, 800))
    sheet.save(tmp_path / "print.png")
    ended = cli("run", tmp_path / "print.png", "-o", tmp_path / "x.png")
    assert ended.code == 0
    assert ended.err.count("less than half as large as the largest") == 1
    assert "--faces largest" in ended.err
    for options in (["--faces", "all"], ["--faces", "largest"]):
        assert cli("run", tmp_path / "print.png", "-o", tmp_path / "x.png", *options).err == ""
    assert cli("run", two, "-o", tmp_path / "x.png").err == ""


def test_want_of_memory_ends_in_6_wherever_it_is_met(cli, look, tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise MemoryError

    shutil.copy(look, tmp_path / "look.png")
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "load", fail)
        ended = cli("run", tmp_path / "look.png", "-o", tmp_path / "x.png")
    assert ended.code == 6
    assert "give a smaller picture, lower --batch" in ended.err
    monkeypatch.setattr("refacer.jobs.display.Display.files", fail)
    assert cli("run", look, "-o", tmp_path / "x.png").code == 6


def test_small_faces_of_several_pictures_share_a_batch(cli, two, look, tmp_path, monkeypatch):
    sizes, true = [], Optimiser.__call__

    def counting(self, faces, generator, *, progress=None):
        sizes.append(len(faces))
        return true(self, faces, generator, progress=progress)

    (tmp_path / "in").mkdir()
    for name, path in {"a": look, "b": two, "c": look}.items():
        shutil.copy(path, tmp_path / f"in/{name}.png")
    monkeypatch.setattr(Optimiser, "__call__", counting)
    for batch, expected in (("1", [1, 1, 1, 1]), ("3", [1, 3])):
        sizes.clear()
        call = ("run", tmp_path / "in", "-o", tmp_path / f"out{batch}", "--way", "project", "--batch", batch)
        assert cli(*call).code == 0
        assert sorted(sizes) == expected
    for name in "abc":
        alone, together = (pixels(tmp_path / f"out{batch}/{name}.png").astype(int) for batch in ("1", "3"))
        assert abs(alone - together).max() <= 2, "batches change codes by rounding"
