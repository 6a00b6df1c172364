"""TensorBoard's event files of a run, where the optional package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from refacer.errors import OutputNotWritable
from refacer.types import Rgb

MISSING = "no TensorBoard files: it is not installed; `pip install 'refacer[tensorboard]'` brings it"


class Board:
    """Writes what a tick has shown; does nothing without the package."""

    def __init__(self, folder: Path | None, images_seen: int) -> None:
        """Later events than `images_seen`, which a resumed run will repeat, are marked as replaced. None: no files."""
        self.folder, self.writer = folder, None
        self.available = find_spec("tensorboard") is not None
        if folder is not None and self.available:
            from torch.utils.tensorboard import SummaryWriter

            try:
                self.writer = SummaryWriter(str(folder), purge_step=images_seen + 1)
            except OSError as error:
                raise self._unwritable(error) from error

    def add(self, line: Mapping[str, Any], samples: Rgb) -> None:
        """A line of the log, and the samples (H, W, 3)."""
        if self.writer is None:
            return
        step = line["images_seen"]
        try:
            for name, value in _numbers(line).items():
                self.writer.add_scalar(name, value, step)
            self.writer.add_image("samples", samples, step, dataformats="HWC")
            self.writer.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()

    def _unwritable(self, error: OSError) -> OutputNotWritable:
        return OutputNotWritable(f"{self.folder}: cannot be written ({error.strerror}); choose another output")


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Nested numbers as one level: 'means/loss/r1', 'augment_p'."""
    flat: dict[str, float] = {}
    for name, value in line.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}/{key}".rstrip("/"): float(number) for key, number in inner.items()}
    return {name: number for name, number in flat.items() if name != "images_seen"}
