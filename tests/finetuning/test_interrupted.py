"""A run of `finetune` that is killed at any moment, also while it saves, ends as one that was not."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.files import streams, write_atomic
from refacer.finetuning.run import Stopping, Training
from refacer.finetuning.style import StyleRecipe
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.training.checkpoint import checkpoints, decode_checkpoint
from refacer.training.trainer import Trainer
from refacer.weights.bases import encode_base, fresh_networks

BATCH, TICK, TICKS = 2, 4, 6
SEED = 3
KILLS = 100
ARGUMENTS = ["--batch", BATCH, "--tick", TICK / 1000, "--aug-p", 0.3, "--jitter", 0.03, "--seed", SEED]
OPTIONS = FinetuneOptions(
    batch=BATCH, tick_kimg=TICK / 1000, kimg=TICK * TICKS / 1000, aug_p=0.3, jitter=0.03, seed=SEED, deterministic=True,
    sample_count=4,
)  # fmt: skip


class Killed(BaseException):
    """What SIGKILL would do here: nothing more is done."""


class Fuse:
    """Kills at the n-th point that it is shown; a dead process cleans nothing up."""

    def __init__(self) -> None:
        self.left, self.dead, self.images_seen = -1, False, 0

    def burn(self) -> None:
        if self.dead:
            raise Killed
        self.left -= 1
        if self.left == 0:
            self.dead = True
            raise Killed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and an untrained base of 8 pixels."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    (folder / "faces").mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"faces/{i}.png")
    torch.manual_seed(0)
    networks = fresh_networks(NetworkOptions(8, channel_base=64, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1))
    for name, data in encode_base(*networks, {"licence": "CC0-1.0", "commercial": "yes"}).items():
        write_atomic(folder / "base" / name, data)
    return folder


def _run(place: Path, folder: Path, options: FinetuneOptions = OPTIONS, faces: Path | None = None) -> Training:
    recipe = StyleRecipe([faces or place / "faces"], str(place / "base"), options, device="cpu")
    return Training(recipe, folder, quiet=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    return decode_checkpoint(path.read_bytes(), path)


@pytest.fixture(scope="module", autouse=True)
def not_deterministic_afterwards() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def unbroken(place: Path) -> Path:
    """A run that nothing has interrupted."""
    _run(place, place / "unbroken").go("auto")
    return place / "unbroken"


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    """A fuse at every update, and before, amid and after every write."""
    fuse = Fuse()
    update, replace, unlink = Trainer._update, os.replace, Path.unlink

    def updating(trainer: Trainer, *arguments: Any) -> None:
        fuse.images_seen = trainer.images_seen
        fuse.burn()
        update(trainer, *arguments)

    def replacing(part: Path, target: Path) -> None:
        if fuse.left == 1:  # a write cut short
            part.write_bytes(part.read_bytes()[:100])
        fuse.burn()
        replace(part, target)
        fuse.burn()

    monkeypatch.setattr(Trainer, "_update", updating)
    monkeypatch.setattr(streams.os, "replace", replacing)
    monkeypatch.setattr(Path, "unlink", lambda path, **options: fuse.dead or unlink(path, **options))
    return fuse


def test_a_hundred_kills_change_nothing(place, unbroken, tmp_path, fuse):
    """Whenever a run gets to its end in spite of them, it is compared and the next one begins."""
    rng = np.random.default_rng(0)
    kills = run = 0
    while kills < KILLS or fuse.dead:
        fuse.left = int(rng.integers(1, 18)) if kills < KILLS else -1
        fuse.dead, fuse.images_seen = False, 0
        folder = tmp_path / str(run)
        try:
            _run(place, folder).go("auto")
        except Killed:
            kills += 1
            seen = [load_checkpoint(path)["images_seen"] for path in checkpoints(folder / "checkpoints")]
            assert fuse.images_seen - max(seen, default=0) <= TICK
            continue
        assert_same_run(folder, unbroken)
        assert not list(folder.rglob("*.part"))
        run += 1
    assert run > 0


def assert_same_run(folder: Path, other: Path) -> None:
    """States, log and pair, bit for bit; how long it took may differ."""
    assert [p.name for p in checkpoints(folder / "checkpoints")] == [p.name for p in checkpoints(other / "checkpoints")]
    for mine, theirs in zip(checkpoints(folder / "checkpoints"), checkpoints(other / "checkpoints"), strict=True):
        assert_same(load_checkpoint(mine), load_checkpoint(theirs), mine.name)
    assert (folder / "rendering.safetensors").read_bytes() == (other / "rendering.safetensors").read_bytes()
    assert log_of(folder) == log_of(other)


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds_per_kimg"} for line in lines]


def assert_same(mine: object, theirs: object, where: str) -> None:
    if isinstance(mine, dict):
        assert isinstance(theirs, dict)
        assert mine.keys() == theirs.keys(), where
        for key in mine:
            assert_same(mine[key], theirs[key], f"{where}.{key}")
    elif isinstance(mine, list):
        assert isinstance(theirs, list)
        for i, pair in enumerate(zip(mine, theirs, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    elif isinstance(mine, torch.Tensor):
        assert isinstance(theirs, torch.Tensor)
        assert torch.equal(mine, theirs), where
    else:
        assert mine == theirs, where


def test_processes_that_are_killed_and_stopped(place, tmp_path):
    """SIGKILL twice, then SIGTERM, each after the run has come two ticks further; then on to the end.

    While a process lives no other may use its folder; what it held ends with it.
    """
    folder = tmp_path / "run"
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        before = len(_ticks(folder))
        process = _started(place, folder, kimg=1.0)
        assert _soon(lambda before=before: len(_ticks(folder)) > before + 1, process)
        assert_locked(place, folder)
        process.send_signal(number)
        errors = process.communicate()[1]
        assert process.returncode == (143 if number == signal.SIGTERM else -9), errors
        assert "Traceback" not in errors
    assert "saved at" in errors
    seen = load_checkpoint(checkpoints(folder / "checkpoints")[-1])["images_seen"]
    further = FinetuneOptions(**{**vars(OPTIONS), "kimg": (seen + TICK) / 1000})
    _run(place, folder, further).go("auto")
    _run(place, tmp_path / "whole", further).go("auto")
    assert log_of(folder) == log_of(tmp_path / "whole")
    name = "rendering.safetensors"
    assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def assert_locked(place: Path, folder: Path) -> None:
    """A second run is refused before it has touched anything; what it would have written as a part stays, too."""
    part = folder / "checkpoints/.refacer-0.part"
    part.touch()
    with pytest.raises(OutputNotWritable, match="another `refacer finetune` is at work") as stop:
        _run(place, folder).go("auto")
    assert stop.value.exit_code == 7
    assert part.exists()


def _started(place: Path, folder: Path, kimg: float) -> "subprocess.Popen[str]":
    options = [*ARGUMENTS, "--kimg", kimg, "--base", place / "base", "--deterministic", "--device", "cpu"]
    command = [sys.executable, "-m", "refacer", "finetune", place / "faces", "-o", folder, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def _ticks(folder: Path) -> list[str]:
    return (folder / "log.jsonl").read_text().splitlines() if (folder / "log.jsonl").is_file() else []


def _soon(happens: Callable[[], bool], process: "subprocess.Popen[str]") -> bool:
    """Whether it happens before the process ends."""
    while process.poll() is None:
        if happens():
            return True
        time.sleep(0.002)
    raise AssertionError(process.communicate()[1])


def test_a_second_signal_leaves_at_once():
    asked = Stopping(quiet=True, launched=False)
    asked.receive(signal.SIGTERM)
    assert asked.number == signal.SIGTERM
    with pytest.raises(SystemExit) as stop:
        asked.receive(signal.SIGINT)
    assert stop.value.code == 130


def test_torchrun_passing_on_the_same_signal_is_not_a_second_one():
    asked = Stopping(quiet=True, launched=True)
    asked.receive(signal.SIGINT)
    asked.receive(signal.SIGTERM)
    assert asked.number == signal.SIGINT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_between_two_ticks_is_saved_with_its_half_tick(place, unbroken, tmp_path, monkeypatch, number, code):
    step = Trainer.step

    def interrupted(trainer: Trainer) -> None:
        step(trainer)
        if trainer.images_seen == TICK + BATCH:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        with pytest.raises(SystemExit) as stop:
            _run(place, tmp_path / "run").go("auto")
    assert stop.value.code == code
    assert [load_checkpoint(p)["images_seen"] for p in checkpoints(tmp_path / "run/checkpoints")] == [4, 6]
    _run(place, tmp_path / "run").go("auto")
    assert_same_run(tmp_path / "run", unbroken)


def test_a_flipped_bit_falls_back_to_the_state_before(place, unbroken, tmp_path, capsys):
    folder = tmp_path / "run"
    _run(place, folder).go("auto")
    newest = checkpoints(folder / "checkpoints")[-1]
    data = bytearray(newest.read_bytes())
    data[_amid_a_tensor(newest)] ^= 1
    newest.write_bytes(data)
    _run(place, folder).go("auto")
    assert "damaged, the one before is used" in capsys.readouterr().err
    assert "damaged, the one before is used" in (folder / "log.txt").read_text()
    assert_same_run(folder, unbroken)


def _amid_a_tensor(state: Path) -> int:
    """Where the middle of the largest tensor lies; between two entries there is only padding, which harms nothing."""
    with zipfile.ZipFile(state) as archive:
        content = max(map(archive.read, archive.namelist()), key=len)
    return state.read_bytes().index(content) + len(content) // 2


def test_two_damaged_states_start_nothing_anew(place, tmp_path):
    folder = tmp_path / "run"
    _run(place, folder).go("auto")
    for path in checkpoints(folder / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(InputRefused, match="--resume never"):
        _run(place, folder).go("auto")


@pytest.mark.parametrize("full", ["state", "log"])
def test_a_full_disk_leaves_the_states_whole(place, unbroken, tmp_path, monkeypatch, full):
    folder = tmp_path / "run"
    _run(place, folder, FinetuneOptions(**{**vars(OPTIONS), "kimg": 2 * TICK / 1000})).go("auto")
    before = {path: path.read_bytes() for path in checkpoints(folder / "checkpoints")}
    opened = Path.open

    def no_space(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if full == "state" and mode == "xb" and path.parent.name == "checkpoints":
            raise OSError(errno.ENOSPC, "No space left on device")
        if full == "log" and mode == "a" and path.name == "log.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", no_space)
        with pytest.raises(OutputNotWritable, match="No space left") as stop:
            _run(place, folder).go("auto")
    assert stop.value.exit_code == 7
    assert {path: path.read_bytes() for path in checkpoints(folder / "checkpoints")} == before
    _run(place, folder).go("auto")
    assert_same_run(folder, unbroken)


def test_what_differs_is_named_by_its_option(place, tmp_path):
    folder = tmp_path / "run"
    short = {**vars(OPTIONS), "kimg": TICK / 1000}
    _run(place, folder, FinetuneOptions(**short)).go("auto")
    changed = FinetuneOptions(**{**short, "ada_kimg": 7.0, "lr": 0.1})
    with pytest.raises(UsageError, match=r"--lr \(0.002 there, 0.1 here\), --ada-kimg \(100.0 there, 7.0 here\)"):
        _run(place, folder, changed).go("auto")
    with pytest.raises(UsageError, match=r"state-000000004.pt: its run differs in --lr"):
        _run(place, tmp_path / "other", changed).go(str(folder / "checkpoints/state-000000004.pt"))
    allowed = {"kimg": 2 * TICK / 1000, "tick_kimg": 0.001, "sample_count": 2, "batch_gpu": 1}
    _run(place, folder, FinetuneOptions(**{**short, **allowed})).go("auto")


def test_other_pictures_are_another_run(place, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    for path in (place / "faces").iterdir():
        (faces / path.name).write_bytes(path.read_bytes())
    short = FinetuneOptions(**{**vars(OPTIONS), "kimg": TICK / 1000})
    _run(place, tmp_path / "run", short).go("auto")
    moved = _run(place, tmp_path / "run", short, faces)
    moved.go("auto")
    (faces / "0.png").write_bytes((faces / "1.png").read_bytes())
    with pytest.raises(UsageError, match="the pictures"):
        moved.go("auto")


def test_never_starts_anew_and_deletes_nothing(place, unbroken, tmp_path):
    folder = tmp_path / "run"
    _run(place, folder, FinetuneOptions(**{**vars(OPTIONS), "lr": 0.1, "kimg": 2 * TICK / 1000})).go("auto")
    _run(place, folder).go("never")
    assert_same_run(folder, unbroken)
    assert len(checkpoints(folder / "before-1/checkpoints")) == 2


def test_an_older_state_can_be_named(place, unbroken, tmp_path):
    folder = tmp_path / "run"
    _run(place, folder).go("auto")
    other = FinetuneOptions(**{**vars(OPTIONS), "lr": 0.1})
    with pytest.raises(UsageError, match="--lr"):
        _run(place, folder, other).go(str(checkpoints(folder / "checkpoints")[0]))
    assert not (folder / "before-1").exists()
    _run(place, folder).go(str(checkpoints(folder / "checkpoints")[0]))
    assert_same_run(folder, unbroken)
    assert len(checkpoints(folder / "before-1/checkpoints")) == 1


def test_a_state_that_is_not_there_is_a_usage_error(place, tmp_path):
    with pytest.raises(UsageError, match=r"--resume .*none\.pt: no such file"):
        _run(place, tmp_path / "run").go(str(tmp_path / "none.pt"))
    assert not (tmp_path / "run").exists()
