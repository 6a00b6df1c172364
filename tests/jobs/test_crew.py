"""Work on a local Ray cluster of two machines: the same files and lines as on one, whoever dies."""

import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import OutOfDiskError

from refacer import __version__
from refacer.comparison import measures
from refacer.errors import OutOfMemory, UsageError, WeightsMissing
from refacer.jobs import cluster as clusters
from refacer.jobs.crew import POLL_S, TRIES, Crew, crew
from refacer.jobs.worker import Recipe, Settings, Worker
from tests.comparison.test_compare import Brightness

STORE_BYTES = 80 * 1024**2
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE_BYTES}


@pytest.fixture(scope="module")
def farm() -> Iterator[Any]:
    """A cluster of two machines of one core each, the second of which may be taken away."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the home folder
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        cluster.add_node(**NODE)
        yield cluster
        cluster.shutdown()


@dataclass(frozen=True)
class Task:
    """A number. marks: a folder where a worker leaves a file before it dies at it, `deaths` times; `how`: or fails."""

    number: int
    marks: Path | None = None
    deaths: int = 0
    how: str = "exit"


def done(task: Task) -> tuple[int, str]:
    """Ten times the number, and who did it."""
    if task.marks and len(there := list(task.marks.iterdir())) < task.deaths:
        (task.marks / str(len(there))).touch()
        if task.how == "full":
            raise OutOfDiskError("no room")
        os._exit(9)
    if task.number < 0:
        raise ValueError("negative")
    return task.number * 10, str(os.getpid())


def made(device: str, *, signature: str = "ours", error: Exception | None = None) -> Any:
    if error:
        raise error
    return signature, done


def on_device(device: str) -> Any:
    return "ours", lambda _task: device


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"make": made, "signature": "ours", "seen": str(Path(__file__)), **changes})


def test_tasks_are_done_whoever_dies_and_errors_come_back(farm, tmp_path, capsys):
    told: list[str] = []
    with crew(farm.address, recipe(), 4, told.append) as workers:
        assert [workers.do(Task(number))[0] for number in range(3)] == [0, 10, 20]
        with pytest.raises(ValueError, match="negative"):
            workers.do(Task(-1))
        assert workers.do(Task(3, tmp_path, deaths=1))[0] == 30
        assert workers.do(Task(3, tmp_path, deaths=2, how="full"))[0] == 30
        with pytest.raises(OutOfMemory, match=f"{TRIES} workers have died at it"):
            workers.do(Task(4, tmp_path, deaths=99))
        assert workers.do(Task(5))[0] == 50
    assert told[-1] == "--cluster: 2 workers on 2 machines"  # before it, on a slow machine, that it waits
    deaths = [line for line in capsys.readouterr().err.splitlines() if "died; what it had in hand" in line]
    assert len(deaths) == 2 + TRIES


def test_workers_that_cannot_begin_are_given_no_work(farm, capsys):
    lacking = recipe(make=partial(made, error=WeightsMissing("no pair 'x'")))
    with pytest.raises(WeightsMissing, match="no pair 'x'"), crew(farm.address, lacking, 4, lambda _: None):
        pass
    assert capsys.readouterr().err.count("is given no work: no pair 'x'\n") == 2


def test_a_worker_refuses_what_would_not_give_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refusal(version=__version__, signature="ours", seen="shots", folder=tmp_path, **changes):
        make = pickle.dumps(partial(made, **changes))
        settings = Settings(make, pickle.dumps(signature), seen, "cpu", str(folder), {})
        return Worker(settings).refusal(version)

    (tmp_path / "shots").touch()
    assert refusal() is None
    refused = {
        "install the same": refusal(version="0.0.1"),
        "must share the folder": refusal(seen="elsewhere/shots"),
        "other weights than this machine": refusal(signature="others"),
        "no pair 'x'": refusal(error=WeightsMissing("no pair 'x'")),
        "ZeroDivisionError: ours": refusal(error=ZeroDivisionError("ours")),
    }
    for told, error in refused.items():
        assert told in str(error)
        assert "\n" not in str(error)


def test_without_a_gpu_in_the_cluster_cuda_is_refused(farm):
    with pytest.raises(UsageError, match="has no GPU"), crew(farm.address, recipe(device="cuda"), 4, lambda _: None):
        pass
    with pytest.raises(UsageError, match="cuda:1"), crew(farm.address, recipe(device="cuda:1"), 4, lambda _: None):
        pass


def test_where_there_are_gpus_each_has_a_worker_and_no_core_has(farm):
    node = farm.add_node(**NODE, num_gpus=2)
    told: list[str] = []
    with crew(farm.address, recipe(make=on_device), 9, told.append) as workers:
        assert workers.do(Task(1)) == "cuda"
    farm.remove_node(node)
    assert told[-1] == "--cluster: 2 workers on 1 machine"


def test_what_is_no_cluster_is_a_line(cli, look, tmp_path, monkeypatch):
    shots = tmp_path / "in"
    shots.mkdir()
    shutil.copy(look, shots)
    run = partial(cli, "run", shots, "-o", tmp_path / "out", "--cluster")
    ended = run("127.0.0.1:1")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--cluster 127.0.0.1:1: no cluster is there" in ended.err
    assert run("somewhere").code == 2
    monkeypatch.setattr(clusters, "find_spec", lambda _: None)
    ended = run("local")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "pip install 'refacer[cluster]'" in ended.err
    assert cli("run", look, "-o", "-", "--cluster", "local", stdin=b"").code == 2
    assert cli("run", shots, "-o", tmp_path / "out", "--cluster", "local", "--sequence").code == 2


@pytest.fixture
def shots(look, bare, tmp_path) -> Path:
    """Pictures with a face, one without, one that is none."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for name in "abcdef":
        shutil.copy(look, folder / f"{name}.png")
    shutil.copy(bare, folder / "bare.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def told_by(report: Path) -> list[dict[str, Any]]:
    """The report without the seconds."""
    return [
        {name: value for name, value in line.items() if name != "seconds"}
        for line in map(json.loads, report.read_text().splitlines())
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_a_folder_comes_out_the_same_though_a_machine_dies(cli, farm, shots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # relative paths mean the same on every machine
    alone = cli("run", "shots", "-o", "out", "--report", "alone.ndjson")
    expected = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    second = next(iter(farm.worker_nodes))
    when_at_work(monkeypatch, second.node_id, lambda: farm.remove_node(second, allow_graceful=False))
    ended = cli("run", "shots", "-o", "out", "--report", "many.ndjson", "--cluster", farm.address)
    farm.add_node(**NODE)
    assert ended.out == b""
    assert (ended.code, alone.code) == (1, 1)
    assert files(tmp_path / "out") == expected
    assert told_by(tmp_path / "many.ndjson") == told_by(tmp_path / "alone.ndjson")
    assert "died; what it had in hand is done by another" in ended.err
    errors = [[line for line in one.err.splitlines() if "error" in line] for one in (alone, ended)]
    assert errors[0] == errors[1]
    again = cli("run", "shots", "-o", "out", "--report", "many.ndjson", "--cluster", farm.address)
    assert "0 done, 6 up to date, 2 failed" in again.err


def when_at_work(monkeypatch: pytest.MonkeyPatch, node: str, happens: Callable[[], None]) -> None:
    """Wait for all workers; let something end one on a certain machine, once, when it is about to be given its task.

    A worker outlives its machine by a moment, in which it may still do the task; so it is waited for.
    """
    assemble, take, once = Crew.assemble, Crew._take, threading.Lock()

    def assemble_all(self, tell):
        assemble(self, tell)
        with self._changed:
            while self._coming:
                self._admit()
                self._changed.wait(POLL_S)

    def take_and(self, places):
        hand = take(self, places)
        if hand.node == node and once.acquire(blocking=False):
            happens()
            with suppress(*clusters.losses()):
                while True:
                    self._ray.get(hand.actor.refusal.remote(__version__))
        return hand

    monkeypatch.setattr(Crew, "assemble", assemble_all)
    monkeypatch.setattr(Crew, "_take", take_and)


def test_codes_come_out_the_same_behind_urls(cli, farm, stages, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    for name in "abc":
        shutil.copy(stages / "display.face.png", faces / f"{name}.png")
    together = ("--batch", 2)
    assert cli("project", faces, "-o", tmp_path / "alone", *together).code == 0
    ended = cli("project", f"file://{faces}", "-o", f"file://{tmp_path}/many", *together, "--cluster", farm.address)
    assert ended.code == 0, ended.err
    assert files(tmp_path / "many") == files(tmp_path / "alone")
    assert cli("project", faces, "-o", tmp_path / "x", "--trace", "t", "--cluster", farm.address).code == 2


def test_a_comparison_comes_out_the_same_though_a_machine_dies(cli, farm, stages, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "identity_network", lambda equipment: Brightness())
    faces = tmp_path / "faces"
    faces.mkdir()
    for name in "abc":
        shutil.copy(stages / "display.face.png", faces / f"{name}.png")
    (faces / "broken.png").write_bytes(b"no picture")
    call = ("compare", faces, "--methods", "project,project-face,direct,translate,nada")
    alone = cli(*call, "-o", tmp_path / "alone", "--report", tmp_path / "alone.ndjson")
    second = next(iter(farm.worker_nodes))
    when_at_work(monkeypatch, second.node_id, lambda: farm.remove_node(second, allow_graceful=False))
    many = (*call, "-o", tmp_path / "many", "--report", tmp_path / "many.ndjson", "--cluster", farm.address)
    ended = cli(*many)
    farm.add_node(**NODE)
    assert (ended.code, alone.code) == (1, 1), ended.err
    assert "died; what it had in hand is done by another" in ended.err
    made = [{path: data for path, data in files(tmp_path / one).items() if path[-4:] in (".png", ".npy")}
            for one in ("alone", "many")]  # fmt: skip
    assert made[0] == made[1]
    assert len(made[0]) == 3 * (1 + 4 + 2)
    assert _table(tmp_path / "many") == _table(tmp_path / "alone")
    lines = [[(line.get("input"), line.get("status")) for line in told_by(tmp_path / f"{one}.ndjson")]
             for one in ("alone", "many")]  # fmt: skip
    assert lines[0] == lines[1]
    assert cli(*many).code == 1
    assert {line["status"] for line in told_by(tmp_path / "many.ndjson") if "input" in line} == {"skipped", "failed"}
    assert _table(tmp_path / "many") == _table(tmp_path / "alone")


def _table(folder: Path) -> tuple[Any, Any]:
    """The table and what was used, without the seconds."""
    body, record = (json.loads((folder / name).read_text()) for name in ("table.json", "compare.json"))
    for row in body["rows"].values():
        assert (row.pop("seconds") is None) == (row["title"] == "the input as it is")
    return body, record


def test_a_set_comes_out_the_same(cli, farm, shots, tmp_path):
    options = ("--size", 64, "--min-size", 60)
    alone = cli("dataset", shots, "-o", tmp_path / "alone", *options, "--jobs", 1)
    many = cli("dataset", shots, "-o", tmp_path / "many", *options, "--cluster", farm.address)
    assert (alone.code, many.code) == (1, 1), many.err
    assert files(tmp_path / "many") == files(tmp_path / "alone")
    refused = cli("dataset", shots, "-o", tmp_path / "x", "--jobs", 2, "--cluster", farm.address)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
