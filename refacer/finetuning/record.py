"""What a run of training shows of itself: log, samples, unusual pictures, TensorBoard's files, report.html."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from refacer.errors import OutputNotWritable
from refacer.files import encode_png, write_atomic
from refacer.finetuning.charts import spread
from refacer.finetuning.folder import RunFolder
from refacer.finetuning.report import SHOWN_PICTURES, report_page
from refacer.images.pixels import rgb_from_tensor
from refacer.networks.perceptual import shrink
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Tick
from refacer.types import Rgb

SMALL_CODES, SMALL_COLUMNS, SMALL_PX = 8, 4, 128
"""Of the samples in report.html."""

COLUMNS = 8
"""Of the samples in their own files."""

TERMS_OF_PICTURES = {"pictures": "not known to the program; the result is bound by theirs, too"}
"""What every recipe says of the licences of what it is trained on."""

SHOWN_REFUSALS = 20
"""More pictures that are left out are counted, not named, on stderr; refused.json names them all."""

NO_TENSORBOARD = "no TensorBoard files: it is not installed; `pip install 'refacer[tensorboard]'` brings it"


@dataclass(frozen=True)
class Observation:
    """What a recipe adds to a tick: further numbers of its log line, and samples.

    rows: pictures of the same codes, (N, 3, R, R) of each network, in the order in which they are shown.
    """

    numbers: Mapping[str, Any]
    rows: Sequence[Tensor]


def weighted(tick: Tick, weights: Mapping[str, float]) -> dict[str, float]:
    """The losses of a tick as they enter the sum; those that it did not have are left out."""
    return {name: tick.means[name] * weight for name, weight in weights.items() if name in tick.means}


class TrainingRecord:
    """Writes into the run's folder; only the first process has a use for it. sample_order: see `Recipe`."""

    def __init__(self, folder: RunFolder, title: str, sample_order: str) -> None:
        self.folder, self.title, self.sample_order = folder, title, sample_order
        self._events = EventFiles(None, 0)
        self._told: set[tuple[str, str]] = set()  # of the pictures that are left out

    def follow(self, images_seen: int) -> None:
        """Let log and event files go on behind a state."""
        self.folder.trim_log(images_seen)
        self._events = EventFiles(self.folder.path / "tensorboard", images_seen)
        if not self._events.available:
            self.folder.note(NO_TENSORBOARD)

    def add(self, tick: Tick, seen: Observation) -> tuple[dict[str, Any], Rgb]:
        """Keep a tick and its samples; returns the log's line and the small samples, for `show`."""
        pace = {"seconds_per_kimg": tick.seconds_per_kimg}
        line = {"images_seen": tick.images_seen, "means": tick.means, **tick.measured, **pace, **seen.numbers}
        self.folder.log(line)
        self.folder.note(_tick_line(tick))
        name = f"{tick.images_seen:09d}.png"
        write_atomic(self.folder.path / "samples" / name, encode_png(_grid(seen.rows), None))
        small = _small_grid(seen.rows)
        write_atomic(self.folder.path / "report" / name, encode_png(small, None))
        return line, small

    def show(self, line: Mapping[str, Any], small: Rgb, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring event files and report.html up to date."""
        self._events.add(line, small)
        found = spread(sorted((self.folder.path / "report").glob("*.png")), SHOWN_PICTURES)
        pictures = [(int(path.stem) / 1000, path.read_bytes()) for path in found]
        page = report_page(self.title, self.folder.ticks(), tables, pictures, sample_order=self.sample_order)
        write_atomic(self.folder.path / "report.html", page.encode())

    def close(self) -> None:
        """Write what is left."""
        self._events.close()

    # ------------------------------------------------------------ unusual pictures

    def tell_unusual(self, data: Iterable[FaceDataset]) -> None:
        """Tell how many pictures are taken, which were left out and which were changed when they were first read."""
        sets = list(data)
        for one in sets:
            self.folder.note(f"{one.pictures} pictures are taken from {', '.join(map(str, one.sources))}")
        refused = [entry for one in sets for entry in one.refused]
        for _, reason in refused[:SHOWN_REFUSALS]:
            self.folder.warn(f"left out {reason}")
        if len(refused) > SHOWN_REFUSALS:
            self.folder.warn(f"left out {len(refused) - SHOWN_REFUSALS} more; refused.json names them")
        kinds: dict[str, list[str]] = {}
        for name, change in [entry for one in sets for entry in one.converted]:
            kinds.setdefault(change, []).append(name)
        for change, names in kinds.items():
            self.folder.warn(f"{change}: {len(names)} of the pictures, the first {names[0]}")
        self._told = set(refused)
        if refused or kinds:
            self._write_refusals(sets)

    def tell_gone_bad(self, data: Iterable[FaceDataset]) -> None:
        """Tell which files could no longer be read since the last call."""
        sets = list(data)
        new = [entry for one in sets for entry in one.refused if entry not in self._told]
        for _, reason in new:
            self.folder.warn(f"the next picture is used in place of {reason}")
        if new:
            self._told.update(new)
            self._write_refusals(sets)

    def _write_refusals(self, sets: Sequence[FaceDataset]) -> None:
        left_out = [{"name": name, "reason": reason} for one in sets for name, reason in one.refused]
        changed = [{"name": name, "change": change} for one in sets for name, change in one.converted]
        self.folder.write_json("refused.json", {"left_out": left_out, "converted": changed})


class EventFiles:
    """TensorBoard's event files; without the optional package nothing is written."""

    def __init__(self, folder: Path | None, images_seen: int) -> None:
        """Later events than `images_seen`, which a resumed run will repeat, are marked as replaced. None: no files."""
        self.folder, self.writer = folder, None
        self.available = find_spec("tensorboard") is not None
        self._hook = threading.excepthook
        if folder is not None and self.available:
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = self._show_others
            try:
                self.writer = SummaryWriter(str(folder), purge_step=images_seen + 1)
            except OSError as error:
                raise self._unwritable(error) from error

    def add(self, line: Mapping[str, Any], samples: Rgb) -> None:
        """Write a line of the log, and the samples (H, W, 3)."""
        if self.writer is None:
            return
        step = line["images_seen"]
        try:
            for name, value in _flat_numbers(line).items():
                self.writer.add_scalar(name, value, step)
            self.writer.add_image("samples", samples, step, dataformats="HWC")
            self.writer.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Write what is left."""
        try:
            if self.writer is not None:
                self.writer.close()
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            threading.excepthook = self._hook

    def _show_others(self, failed: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread would print what `add` raises as well."""
        if not type(failed.thread).__module__.startswith("tensorboard."):
            self._hook(failed)

    def _unwritable(self, error: OSError) -> OutputNotWritable:
        return OutputNotWritable(f"{self.folder}: cannot be written ({error.strerror}); choose another output")


def _flat_numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Nested numbers as one level: 'means/loss/r1', 'augment_p'."""
    flat: dict[str, float] = {}
    for name, value in line.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}/{key}".rstrip("/"): float(number) for key, number in inner.items()}
    return {name: number for name, number in flat.items() if name != "images_seen"}


def _grid(rows: Sequence[Tensor]) -> Rgb:
    """All codes, COLUMNS a line; below each line the same codes of the next network."""
    bands = [row[i : i + COLUMNS] for i in range(0, len(rows[0]), COLUMNS) for row in rows]
    return rgb_from_tensor(torch.cat([torch.cat(list(band), dim=2) for band in bands], dim=1))


def _small_grid(rows: Sequence[Tensor]) -> Rgb:
    """The first codes as one small picture: a code's pictures side by side."""
    codes = [
        torch.cat(pictures, dim=2)
        for pictures in zip(*(shrink(row[:SMALL_CODES], SMALL_PX) for row in rows), strict=True)
    ]
    lines = [torch.cat(codes[i : i + SMALL_COLUMNS], dim=2) for i in range(0, len(codes), SMALL_COLUMNS)]
    wide = max(line.shape[2] for line in lines)
    return rgb_from_tensor(torch.cat([F.pad(line, (0, wide - line.shape[2]), value=1.0) for line in lines], dim=1))


def _tick_line(tick: Tick) -> str:
    """A tick in one line, for people."""
    parts = [f"{tick.images_seen / 1000:.1f} kimg", f"{tick.seconds_per_kimg:.1f} s/kimg"]
    if "augment_p" in tick.measured:
        parts.append(f"p {tick.measured['augment_p']:.3f}")
    parts += [f"{name.removeprefix('loss/')} {value:.4g}" for name, value in tick.means.items()]
    return "  ".join(parts)
