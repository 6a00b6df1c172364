"""The benchmark of fine-tuning runs on any device and says what it measured."""

import json
import sys

import pytest

from benchmarks import finetune


def test_the_benchmark_prints_every_phase(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    small = "--resolution 16 --channel-base 128 --channel-max 8 --batch-gpu 2 --device cpu --seconds 0 --json"
    monkeypatch.setattr(sys, "argv", ["finetune", *small.split()])
    finetune.main()
    found = json.loads(capsys.readouterr().out)
    rates = found["images_per_s"]
    assert [*rates] == [
        "G main", "G path length", "D main", "D R1", "sketch and colour", "augmentation", "whole iteration",
    ]  # fmt: skip
    assert all(value > 0 for value in rates.values())
    assert rates["whole iteration"] < min(rates["G main"], rates["D main"])
    assert found["precision"] == "float32"
