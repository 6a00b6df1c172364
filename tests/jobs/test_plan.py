import sys
from pathlib import Path

import pytest

from refacer.errors import InputRefused, RefacerWarning, UsageError
from refacer.jobs.plan import Kind, make_plan

PICTURES = Kind((".png", ".jpg"), ".png", (".png",))


@pytest.fixture(autouse=True)
def pipes(monkeypatch):
    """Neither stdin nor stdout is a terminal."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder of pictures, folders, and what is to be left alone."""
    for name in ("b.png", "a.JPG", "sub/c.d.png", "notes.txt", ".hidden.png", ".cache/e.png", "out/a.png"):
        path = tmp_path / "shots" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "shots"


def outputs(plan) -> list[str]:
    return [str(item.output.relative_to(plan.folder)) for item in plan.items]


def test_a_folder_is_searched_in_order_and_mirrored(shots, tmp_path):
    plan = make_plan([shots], f"{tmp_path}/new/", PICTURES)
    assert outputs(plan) == ["a.png", "b.png", "out/a.png", "sub/c.d.png"]
    assert [Path(item.name).name for item in plan.items] == ["a.JPG", "b.png", "a.png", "c.d.png"]


def test_the_files_of_a_folder_come_before_those_of_its_folders(shots, tmp_path):
    (shots / "z.png").touch()
    assert outputs(make_plan([shots], f"{tmp_path}/new/", PICTURES)) == [
        "a.png", "b.png", "z.png", "out/a.png", "sub/c.d.png",
    ]  # fmt: skip


def test_the_output_folder_is_not_searched(shots):
    assert outputs(make_plan([shots], str(shots / "out"), PICTURES)) == ["a.png", "b.png", "sub/c.d.png"]


def test_a_folder_that_is_skipped(shots, tmp_path):
    plan = make_plan([shots], str(tmp_path / "new"), PICTURES, skip=shots / "sub")
    assert outputs(plan) == ["a.png", "b.png", "out/a.png"]


def test_an_unreadable_folder_is_refused_alone(shots, tmp_path, monkeypatch):
    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(shots / "sub")))
        yield str(top), [], ["b.png"]

    monkeypatch.setattr("os.walk", walk)
    plan = make_plan([shots], str(tmp_path / "new"), PICTURES)
    assert len(plan.items) == 1
    assert plan.count == 2
    assert isinstance(plan.refused[0][1], InputRefused)


def test_files_go_into_a_folder_by_name(shots, tmp_path):
    plan = make_plan([shots / "sub/c.d.png", shots / "b.png"], str(tmp_path / "new"), PICTURES)
    assert outputs(plan) == ["c.d.png", "b.png"]
    assert plan.items[0].part("1") == tmp_path / "new/c.d.1.png"


@pytest.mark.parametrize("output", ["there", "new/"])
def test_one_file_goes_into_a_folder_that_exists_or_is_marked(shots, tmp_path, monkeypatch, output):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    assert make_plan([shots / "b.png"], output, PICTURES).items[0].output == Path(output) / "b.png"


def test_one_file_to_one_file(shots, tmp_path):
    plan = make_plan([shots / "b.png"], str(tmp_path / "x.png"), PICTURES)
    assert (plan.items[0].output, plan.folder) == (tmp_path / "x.png", None)


def test_no_input_and_no_output_are_pipes():
    item = make_plan(None, None, PICTURES).items[0]
    assert (item.path, item.output, item.name) == (None, None, "stdin")


def test_stdin_into_a_folder(tmp_path):
    assert make_plan([Path("-")], f"{tmp_path}/", PICTURES).items[0].output == tmp_path / "stdin.png"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_terminals_are_refused(monkeypatch, shots, stream):
    monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError):
        make_plan(None if stream == "stdin" else [shots / "b.png"], None, PICTURES)


@pytest.mark.parametrize(
    ("inputs", "output", "says"),
    [
        (["b.png", "sub"], None, "name a folder"),
        (["b.png", "a.JPG"], "x.png", "several outputs"),
        (["b.png", "a.JPG"], "b.png", "several outputs"),
        (["b.png"], "x.jpg", "of type .png"),
        (["b.png"], "faces", "of type .png"),
        (["b.png"], "b.png", "is an input"),
        (["out"], "out", "is an input"),
        (["a.JPG", "out/a.png"], "new", "for both"),
        (["b.png", "./b.png"], "new", "given twice"),
        ([".", "b.png"], "new", "given twice"),
        (["-", "-"], "new", "only once"),
        ([".cache"], "new/", "holds no input"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_usage_error(shots, monkeypatch, inputs, output, says):
    monkeypatch.chdir(shots)
    if inputs == [".cache"]:
        (shots / ".cache/e.png").unlink()
    with pytest.raises(UsageError, match=says):
        make_plan([Path(name) for name in inputs], output, PICTURES)


def test_an_output_on_an_input_behind_a_link(shots, tmp_path):
    (tmp_path / "link").symlink_to(shots, target_is_directory=True)
    with pytest.raises(UsageError, match="is an input"):
        make_plan([shots / "b.png"], str(tmp_path / "link/b.png"), PICTURES)


def test_a_report_must_not_hit_an_input_or_an_output(shots, tmp_path):
    with pytest.raises(UsageError, match="is an input"):
        make_plan([shots / "b.png"], str(tmp_path / "x.png"), PICTURES, extra=[shots / "b.png"])
    with pytest.raises(UsageError, match="for both"):
        make_plan([shots / "b.png"], str(tmp_path / "x.png"), PICTURES, extra=[tmp_path / "x.png"])


def test_several_results_of_one_input_need_a_folder(shots, tmp_path):
    several = Kind((".png",), ".png", (".png",), several=True)
    assert make_plan([shots / "b.png"], str(tmp_path / "faces"), several).folder == tmp_path / "faces"
    with pytest.raises(UsageError, match="several outputs"):
        make_plan([shots / "b.png"], str(tmp_path / "face.png"), several)


def test_pictures_that_differ_in_their_suffix_alone_are_told_apart(tmp_path):
    for name in ("look.png", "look.jpg", "sub/look.jpg", "other.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert outputs(make_plan([tmp_path / "in"], f"{tmp_path}/out/", PICTURES)) == [
        "look.jpg.png", "look.png", "other.png", "sub/look.png",
    ]  # fmt: skip
    codes = make_plan([tmp_path / "in"], f"{tmp_path}/out/", Kind((".png", ".jpg"), ".npy", (".npy",)))
    assert outputs(codes) == ["look.jpg.npy", "look.png.npy", "other.npy", "sub/look.npy"]


def test_pictures_that_are_not_read_are_told(tmp_path):
    for name in ("a.png", "b.psd", "c.PSD", "d.exr", ".hidden.psd", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.warns(RefacerWarning, match=r"1 \.exr, 2 \.psd"):
        plan = make_plan([tmp_path], f"{tmp_path}/out/", PICTURES)
    assert len(plan.items) == 1
    assert plan.left_out == {".exr": 1, ".psd": 2}
