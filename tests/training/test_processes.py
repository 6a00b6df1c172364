"""Any number of processes makes the run that one makes; how a batch is split; who leaves with which error."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.main import get_command

from refacer.cli import app
from refacer.errors import UsageError
from refacer.options import FinetuneOptions
from refacer.training.processes import Processes, device_name, joined, parts_of

WORKER = Path(__file__).with_name("several_processes.py")
RTOL, ATOL = 2e-4, 2e-5  # float32 sums in another order, through three steps of Adam


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], dict[str, Any]]:
    """What each rank of each world ends with."""
    import numpy as np
    from PIL import Image

    out = tmp_path_factory.mktemp("worlds")
    (out / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(out / f"pictures/{i}.png")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[2])}
    command = [sys.executable, str(WORKER), str(out / "pictures"), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = [path.stem.replace("world", "").split("-rank") for path in sorted(out.glob("world*.pt"))]
    return {(int(w), int(r)): torch.load(out / f"world{w}-rank{r}.pt", weights_only=True) for w, r in names}


@pytest.mark.parametrize("command", ["finetune", "train-encoder"])
def test_torchrun_hands_over_every_option(command):
    """It takes an option that its own one begins with as its own: --start would be --start-method."""
    from torch.distributed.run import get_args_parser

    theirs = get_command(app).commands[command].params  # type: ignore[attr-defined]
    options = [name for one in theirs for name in (*one.opts, *one.secondary_opts) if name.startswith("-")]
    assert len(options) > 20
    given = get_args_parser().parse_args(["--nproc-per-node", "2", "-m", "refacer", command, *options])
    assert given.training_script_args == [command, *options]


@pytest.mark.parametrize("run", ["finetune", "scratch"])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_several_processes_make_the_run_of_one(results, world, run):
    alone = results[1, 0][run]
    assert alone["means"].keys() >= {"loss/r1", "loss/path_length"}
    for rank in range(world):
        theirs = results[world, rank][run]
        assert theirs["means"] == pytest.approx(alone["means"], rel=RTOL)
        for part in ("generator", "discriminator", "generator_ema", "augment"):
            for name, tensor in alone["state"][part].items():
                torch.testing.assert_close(
                    theirs["state"][part][name], tensor, rtol=RTOL, atol=ATOL, msg=f"{part}.{name}"
                )
        for name in ("pl_mean", "images_seen"):
            torch.testing.assert_close(theirs["state"][name], alone["state"][name], rtol=RTOL, atol=ATOL)
        assert theirs["state"]["ada"]["sums"].tolist() == alone["state"]["ada"]["sums"].tolist()


@pytest.mark.parametrize("run", ["finetune", "scratch"])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_all_processes_of_a_run_are_bit_equal(results, world, run):
    first = results[world, 0][run]
    for rank in range(1, world):
        for part in ("generator", "discriminator", "generator_ema"):
            for name, tensor in first["state"][part].items():
                assert torch.equal(results[world, rank][run]["state"][part][name], tensor), f"{part}.{name}"
        assert results[world, rank][run]["gradient_norms"] == first["gradient_norms"]


@pytest.mark.parametrize(
    ("options", "world", "parts"),
    [
        ({"batch": 32}, 1, 1),
        ({"batch": 32, "accumulate": 4}, 1, 4),
        ({"batch": 32}, 8, 8),
        ({"batch": 32, "batch_gpu": 4}, 1, 8),
        ({"batch": 32, "batch_gpu": 4}, 3, 8),
        ({"batch": 32}, 3, 4),
        ({"batch": 32, "accumulate": 2}, 4, 8),
    ],
)
def test_a_batch_is_split_into_equal_parts(options, world, parts):
    assert parts_of(FinetuneOptions(**options), world) == parts


@pytest.mark.parametrize(
    ("options", "world", "says"),
    [
        ({"batch": 4, "accumulate": 3}, 1, "--accumulate 3"),
        ({"batch": 32, "batch_gpu": 5}, 1, "--batch-gpu 5"),
        ({"batch": 4, "batch_gpu": 2}, 4, "lower --batch-gpu"),
        ({"batch": 2}, 4, "4 processes"),
    ],
)
def test_a_batch_that_cannot_be_split_is_refused(options, world, says):
    with pytest.raises(UsageError, match=says):
        parts_of(FinetuneOptions(**options), world)


def test_a_process_takes_the_gpu_of_its_local_rank():
    launched = {"WORLD_SIZE": "4", "LOCAL_RANK": "2"}
    assert device_name("cuda", launched) == "cuda:2"
    assert device_name("cpu", launched) == "cpu"
    assert device_name("cuda:1", {}) == "cuda:1"
    with pytest.raises(UsageError, match="--device cuda"):
        device_name("cuda:1", launched)


def test_alone_nothing_is_sent():
    with joined(torch.device("cpu"), {}) as processes:
        assert processes == Processes()
    values = torch.ones(2)
    assert processes.sum(values) is values
    assert processes.largest(3) == 3
    assert processes.from_first(lambda: 5) == 5


def test_torchrun_starts_the_program(tmp_path):
    """Two processes, one run folder: a line a tick, and an error that is told once."""
    import numpy as np
    from PIL import Image

    (tmp_path / "faces").mkdir()
    for i in range(2):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / f"faces/{i}.png")
    small = "--resolution 8 --channel-base 64 --channel-max 8 --z-dim 8 --w-dim 8 --mapping-layers 1 --from-scratch"
    program = f"-m refacer finetune faces -o run {small} --batch 4 --batch-gpu 1 --kimg 0.008 --tick 0.004 --device cpu"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[2])}
    done = subprocess.run([*launcher, *program.split()], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [4, 8]
    assert done.stderr.count("0.0 kimg") == 2
    assert json.loads((tmp_path / "run/config.json").read_text())["processes"] == 2
    assert (tmp_path / "run/base.json").is_file()
