"""What a run of `finetune` shows of itself: its log, grids of samples, TensorBoard's files, report.html."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from refacer.files import encode_png, write_atomic
from refacer.finetuning.board import MISSING, Board
from refacer.finetuning.charts import spread
from refacer.finetuning.folder import RunFolder
from refacer.finetuning.identity import RunIdentity
from refacer.finetuning.report import SHOWN_PICTURES, report_page
from refacer.images.pixels import rgb_from_tensor
from refacer.networks.perceptual import shrink
from refacer.options import FinetuneOptions
from refacer.training.finetune import Tick, sample_pairs
from refacer.training.trainer import Trainer
from refacer.types import Rgb

SMALL_CODES, SMALL_COLUMNS, SMALL_PX = 8, 4, 128
"""Of the samples in report.html."""

COLUMNS = 8
"""Of the samples in their own files."""


class TrainingRecord:
    """Writes into the run's folder; only the first process has a use for it."""

    def __init__(self, disk: RunFolder, options: FinetuneOptions, identity: RunIdentity) -> None:
        self.disk, self.options, self.identity = disk, options, identity
        self._board = Board(None, 0)

    def follow(self, images_seen: int) -> None:
        """Let log and event files go on behind the state."""
        self.disk.trim_log(images_seen)
        self._board = Board(self.disk.path / "tensorboard", images_seen)
        if not self._board.available:
            self.disk.note(MISSING)
        if self.identity.reason and not self.options.from_scratch:
            self.disk.note(f"identity between the generators is not measured: {self.identity.reason}")

    def add(self, trainer: Trainer, tick: Tick) -> tuple[dict[str, Any], Rgb]:
        """Keep a tick and its samples; returns the log's line and the small samples, for `show`."""
        drawn, real = sample_pairs(trainer, self.options.sample_count)
        line = self._log(tick, self.identity.measured(drawn, real))
        return line, self._samples(trainer.images_seen, [drawn] if real is None else [real, drawn])

    def show(self, line: Mapping[str, Any], small: Rgb, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring event files and report.html up to date."""
        self._board.add(line, small)
        found = spread(sorted((self.disk.path / "report").glob("*.png")), SHOWN_PICTURES)
        pictures = [(int(path.stem) / 1000, path.read_bytes()) for path in found]
        title, paired = f"refacer finetune: {self.disk.path.name}", not self.options.from_scratch
        page = report_page(title, self.disk.ticks(), tables, pictures, paired=paired)
        write_atomic(self.disk.path / "report.html", page.encode())

    def close(self) -> None:
        """Write what is left."""
        self._board.close()

    def _log(self, tick: Tick, identity: Mapping[str, float]) -> dict[str, Any]:
        """Append a tick to the log; returns its line."""
        o, m = self.options, tick.means
        weights = {"loss/generator": 1.0, "loss/discriminator": 1.0, "loss/sketch": o.sketch_weight,
                   "loss/color": o.color_weight, "loss/r1": o.gamma / 2, "loss/path_length": o.pl_weight}  # fmt: skip
        weighted = {name: m[name] * weight for name, weight in weights.items() if name in m}
        adversarial = tick.gradient_norms["adversarial"]
        relative = {k: v / adversarial for k, v in tick.gradient_norms.items() if adversarial}
        line = {**asdict(tick), "weighted": weighted, "gradient_relative": relative, "identity": dict(identity)}
        self.disk.log(line)
        self.disk.note(_tick_line(tick))
        return line

    def _samples(self, images_seen: int, rows: list[Tensor]) -> Rgb:
        """A grid: each code through G_real (above, where there is one) and the generator in training.

        Returns the small one that report.html holds: both pictures of a code side by side.
        """
        bands = [row[i : i + COLUMNS] for i in range(0, len(rows[0]), COLUMNS) for row in rows]
        grid = torch.cat([torch.cat(list(band), dim=2) for band in bands], dim=1)
        path = self.disk.path / "samples" / f"{images_seen:09d}.png"
        write_atomic(path, encode_png(rgb_from_tensor(grid), None))
        small = _small_grid(rows)
        write_atomic(self.disk.path / "report" / path.name, encode_png(small, None))
        return small


def _small_grid(rows: list[Tensor]) -> Rgb:
    """The first codes, (N, 3, R, R) of each generator, as one small picture: a code's pictures side by side."""
    codes = [
        torch.cat(pictures, dim=2)
        for pictures in zip(*(shrink(row[:SMALL_CODES], SMALL_PX) for row in rows), strict=True)
    ]
    lines = [torch.cat(codes[i : i + SMALL_COLUMNS], dim=2) for i in range(0, len(codes), SMALL_COLUMNS)]
    wide = max(line.shape[2] for line in lines)
    return rgb_from_tensor(torch.cat([F.pad(line, (0, wide - line.shape[2]), value=1.0) for line in lines], dim=1))


def _tick_line(tick: Tick) -> str:
    """A tick in one line, for people."""
    means = "  ".join(f"{name.removeprefix('loss/')} {value:.4g}" for name, value in tick.means.items())
    speed = f"{tick.seconds_per_kimg:.1f} s/kimg  p {tick.augment_p:.3f}"
    return f"{tick.images_seen / 1000:.1f} kimg  {speed}  {means}"
