"""`refacer dataset` on a folder that holds one picture for each fate that a face can have."""

import functools
import io
import json
import re
import shutil
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from refacer.datasets import make
from refacer.datasets.review import review_page
from refacer.files.folder_lock import FolderLock
from refacer.training.dataset import FaceDataset
from refacer.weights import download

DATA = Path(__file__).parents[1] / "data"
ARGUMENTS = ("--size", 64, "--min-size", 60, "--jobs", 1)
FATES = {
    "other.png": [], "look.png": [], "near.jpg": ["near-duplicate"], "same.tiff": ["duplicate"],
    "mirrored.png": ["near-duplicate"], "blurred.png": ["blurred"], "tiny.png": ["small"], "covered.png": ["low-score"],
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory, look: Path) -> Path:
    """The pictures of FATES, a copy of one, one without a face and one that is damaged."""
    folder = tmp_path_factory.mktemp("sources")
    figure = Image.open(look).convert("RGB").crop((50, 0, 250, 200))
    before_tiles(Image.open(DATA / "align/aligned_0_256.png")).save(folder / "other.png")
    figure.save(folder / "look.png")
    figure.resize((190, 190), Image.Resampling.LANCZOS).save(folder / "near.jpg", quality=80)
    figure.save(folder / "same.tiff")
    figure.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((195, 195)).save(folder / "mirrored.png")
    figure.filter(ImageFilter.GaussianBlur(2.2)).save(folder / "blurred.png")
    figure.resize((110, 110), Image.Resampling.LANCZOS).save(folder / "tiny.png")
    shutil.copy(DATA / "align/aligned_1_256.png", folder / "covered.png")
    shutil.copy(folder / "look.png", folder / "copy.png")
    Image.new("RGB", (64, 64), (90, 90, 90)).save(folder / "bare.png")
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def before_tiles(face: Image.Image) -> Image.Image:
    """A face in front of a chequered wall: another picture."""
    pixels = np.array(face)
    y, x = np.mgrid[: face.height, : face.width] / face.width
    outside = ((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.42) ** 2 > 1
    pixels[outside] = (20 + 200 * ((4 * x).astype(int) + (4 * y).astype(int)) % 400)[outside][:, None]
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def made(sources: Path, cli, tmp_path_factory) -> Path:
    """The set made of them at once."""
    folder = tmp_path_factory.mktemp("made") / "set"
    ended = cli("dataset", sources, "-o", folder, *ARGUMENTS, "--report", folder.parent / "report")
    assert ended.code == 1, ended.err
    assert "torn.png: " in ended.err
    assert "2 faces kept, 6 put aside" in ended.err
    return folder


def manifest(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, str]]:
    """The summary, the faces by the first of their sources, the failures by source."""
    summary, *lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    failures = {Path(line["source"]).name: line["error"] for line in lines if "source" in line}
    return summary, {Path(line["sources"][-1]).name: line for line in lines if "sources" in line}, failures


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a set that does not say how it came about."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "measures.jsonl"}


def test_every_face_has_its_fate_and_lies_where_the_manifest_says(made):
    summary, faces, failures = manifest(made)
    assert {name: face["reasons"] for name, face in faces.items()} == FATES
    assert (summary["kept"], summary["same_file"], sum(summary["put_aside"].values())) == (2, 1, 6)
    assert failures.keys() == {"bare.png", "torn.png"}
    assert all((made / face["file"]).is_file() for face in faces.values())
    assert [Path(source).name for source in faces["look.png"]["sources"]] == ["copy.png", "look.png"]
    assert {faces[name]["twin"] for name in ("near.jpg", "same.tiff", "mirrored.png")} == {faces["look.png"]["name"]}
    assert len(list(made.glob("**/*.0.png"))) == len(FATES)
    assert not (made / "incoming").exists()


def test_the_zip_is_what_finetune_reads(made):
    _, faces, _ = manifest(made)
    names = zipfile.ZipFile(made / "dataset.zip").namelist()
    assert names == sorted(face["name"] for face in faces.values() if not face["reasons"])
    assert len(FaceDataset([made / "dataset.zip"], 64, mirror=False)) == 2


def test_the_folder_itself_stands_for_its_kept_faces(made):
    zipped, folder = (FaceDataset([source], 64, mirror=False) for source in (made / "dataset.zip", made))
    assert folder.sha256 == zipped.sha256


def test_the_report_has_a_line_for_each_picture(made):
    lines = [json.loads(line) for line in (made.parent / "report").read_text().splitlines()]
    assert {Path(line["input"]).name: line["exit_code"] for line in lines[:-1] if line["exit_code"]} == {
        "bare.png": 3, "torn.png": 5
    }  # fmt: skip
    assert (lines[-1]["items"], lines[-1]["done"], lines[-1]["kept"], lines[-1]["exit_code"]) == (11, 9, 2, 1)


def test_the_same_command_again_makes_nothing_anew(made, sources, cli, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "set")
    monkeypatch.setattr("refacer.engine.find_faces", None)
    ended = cli("dataset", sources, "-o", tmp_path / "set", *ARGUMENTS, "--json")
    assert ended.code == 1
    assert {line["status"] for line in json.loads(ended.out)["results"]} == {"skipped", "failed"}
    assert contents(tmp_path / "set") == contents(made)


def test_an_interrupted_run_goes_on_and_equals_an_unbroken_one(made, sources, cli, tmp_path, monkeypatch):
    make_all = make.make_all
    asked = []

    def interrupted(items, making, jobs):
        for count, pair in enumerate(make_all(items, making, jobs)):
            if count == 5:
                raise KeyboardInterrupt
            yield pair

    with monkeypatch.context() as patch:
        patch.setattr(make, "make_all", interrupted)
        assert cli("dataset", sources, "-o", tmp_path / "set", *ARGUMENTS).code == 130
    journal = tmp_path / "set/measures.jsonl"
    journal.write_text(journal.read_text() + '{"sha256": "cut')

    def counted(items, making, jobs):
        asked.append(len(making.known))
        return make_all(items, making, jobs)

    monkeypatch.setattr(make, "make_all", counted)
    assert cli("dataset", sources, "-o", tmp_path / "set", *ARGUMENTS).code == 1
    assert asked[0] >= 4
    assert contents(tmp_path / "set") == contents(made)


def test_a_second_call_in_the_folder_is_refused_while_the_first_is_at_work(made, sources, cli):
    before = contents(made)
    with FolderLock(made, "refacer dataset"):
        ended = cli("dataset", sources, "-o", made, *ARGUMENTS)
    assert ended.code == 7
    assert "another `refacer dataset` is at work here" in ended.err
    assert contents(made) == before


def test_neither_order_nor_processes_matter(made, sources, cli, tmp_path):
    given = sorted(sources.iterdir(), key=lambda path: path.name[::-1])
    ended = cli("dataset", *given, "-o", tmp_path / "set", *ARGUMENTS[:-1], 2)
    assert ended.code == 1, ended.err
    assert contents(tmp_path / "set") == contents(made)


def test_other_limits_and_lists_apply_without_making_faces(made, sources, cli, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    shutil.copytree(made, folder)
    monkeypatch.setattr("refacer.engine.find_faces", None)
    names = {name: face["name"] for name, face in manifest(made)[1].items()}

    def reasons(*options: object) -> dict[str, list[str]]:
        assert cli("dataset", sources, "-o", folder, *ARGUMENTS, *options).code == 1
        faces = manifest(folder)[1].values()
        assert all((folder / face["file"]).is_file() for face in faces)
        kept = {Path(face["sources"][-1]).name for face in faces if not face["reasons"]}
        packed = zipfile.ZipFile(folder / "dataset.zip").namelist()
        assert packed == sorted(names[name] for name in kept)
        return {name: face["reasons"] for name, face in manifest(folder)[1].items()}

    assert reasons("--max-blur", 1, "--max-bits", 0, "--min-size", 1)["near.jpg"] == []
    (tmp_path / "drop").write_text(f"# out\n{names['look.png']}\n\n")
    assert reasons("--drop", tmp_path / "drop") == FATES | {"look.png": ["dropped"]}
    (tmp_path / "keep").write_text(f"{names['blurred.png']}\r\n{names['look.png']}\r\n")
    assert reasons("--keep", tmp_path / "keep") == FATES | {"blurred.png": [], "other.png": ["not-listed"]}
    assert reasons() == FATES
    assert contents(folder) == contents(made)
    (tmp_path / "drop").write_text("someone.png")
    ended = cli("dataset", sources, "-o", folder, *ARGUMENTS, "--drop", tmp_path / "drop")
    assert (ended.code, contents(folder)) == (2, contents(made))


def test_another_size_is_made_anew_and_what_is_not_given_goes(made, sources, cli, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(made, folder)
    ended = cli("dataset", sources / "other.png", "-o", folder, "--size", 48, "--min-size", 60)
    assert ended.code == 0, ended.err
    (face,) = (folder / "faces").iterdir()
    with Image.open(face) as picture:
        assert picture.size == (48, 48)
    assert len(list((folder / "quarantine/not-given").iterdir())) == len(FATES) - 1


def test_a_zip_gives_the_same_faces_as_its_folder(made, sources, cli, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("look.png", "other.png"):
            archive.write(sources / name, f"renders/{name}")
    assert cli("dataset", tmp_path / "a.zip", "-o", tmp_path / "set", *ARGUMENTS).code == 0
    assert (tmp_path / "set/dataset.zip").read_bytes() == (made / "dataset.zip").read_bytes()
    assert manifest(tmp_path / "set")[1]["look.png"]["sources"] == [f"{tmp_path / 'a.zip'}::renders/look.png"]


def test_a_list_of_urls(made, sources, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda _: pytest.fail("a 404 does not get better by waiting"))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(sources))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    path = tmp_path / "faces.txt"
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        path.write_text(f"{url}/look.png\n{url}/missing.png\n{url}/other.png\n")
        ended = cli("dataset", path, "-o", tmp_path / "set", *ARGUMENTS)
        server.shutdown()
        thread.join()
    assert ended.code == 1
    assert "missing.png: not downloaded (it answers 404" in ended.err
    assert (tmp_path / "set/dataset.zip").read_bytes() == (made / "dataset.zip").read_bytes()
    again = cli("dataset", path, "-o", tmp_path / "other", *ARGUMENTS, "--offline")
    assert again.code == 2
    assert "--offline" in again.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("given", "options", "code", "says"),
    [
        ("look.png", [], 2, "-o"),
        ("look.png", ["-o", "set.zip"], 2, "the zip lies in it"),
        ("look.png", ["-o", "full"], 7, "not a data set"),
        ("bare.png", ["-o", "set"], 3, "no face"),
        ("torn.png", ["-o", "set"], 5, "cut off"),
        ("look.png", ["-o", "set", "--min-size", 4000], 3, "change the limits"),
        ("look.png", ["-o", "set", "--detector", "eyes"], 2, "not one of"),
        ("full", ["-o", "set"], 2, "holds no picture"),
        ("full/notes.md", ["-o", "set"], 2, "neither a folder"),
    ],
)
def test_what_goes_wrong_has_its_code(cli, sources, tmp_path, monkeypatch, given, options, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.md").write_text("mine")
    path = sources / given if (sources / given).exists() else given
    ended = cli("dataset", path, *options, "--size", 64)
    assert ended.code == code, ended.err
    assert re.search(says, ended.err)
    assert ended.err.count("refacer: error: ") == (code != 2 or "Usage" not in ended.err)
    assert (tmp_path / "full/notes.md").read_text() == "mine"


def test_the_page_stands_alone_and_names_cannot_break_it(made):
    row = {
        "name": "a.png", "sources": ["</script><script>alert(1)//.png"], "reasons": [], "twin": None, "side_px": 90.0,
        "blur": 0.4, "score": 1.0,
    }  # fmt: skip
    page = review_page([row], {"a.png": b"jpeg"}).decode()
    assert page.count("<script") == page.count("</script>") == 2
    assert "alert" not in page.replace(data_of(page), "")
    assert json.loads(data_of(page))["faces"][0]["sources"] == row["sources"]
    page = (made / "review.html").read_text()
    assert not re.search(r"https?:|src=|href=", page.replace(data_of(page), ""))
    faces = json.loads(data_of(page))["faces"]
    assert [face["reasons"] for face in faces if not face["reasons"]] == [[]] * 2
    assert not any(face["reasons"] for face in faces[:2]), "kept ones come first"
    assert np.asarray(Image.open(io.BytesIO(_bytes(faces[0]["picture"])))).shape == (64, 64, 3)


def data_of(page: str) -> str:
    """The JSON inside the page."""
    return page.partition('id="data">')[2].partition("</script>")[0]


def _bytes(text: str) -> bytes:
    import base64

    return base64.b64decode(text)
