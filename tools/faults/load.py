"""What large inputs take: peak memory and the processor's time of one command, at several sizes of each kind.

    python -m tools.faults.load --out DIR [--only pictures codes] [--most 5000]
    python -m tools.faults.load --out DIR --plot docs/reliability.svg      # of what the journal holds

Pictures of a folder, figures of a sheet, pixels of a picture, megabytes of codes through a pipe, a few large ones
that are drawn or many small ones that are refused; and an 8k picture in a limited address space. Networks are tiny
(tests/tiny_pair.py): what grows is what the program itself holds. The journal is DIR/load.jsonl.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from refacer.files import Source, encode_display
from tests.tiny_pair import write_pair
from tools.faults.jobs import LOOK
from tools.faults.trials import FAULT, Journal, arguments

SIZES: Mapping[str, tuple[int, ...]] = {
    "pictures": (100, 300, 1000, 2500, 5000),
    "figures": (1, 4, 16, 36, 100),
    "megapixels": (2, 12, 50, 100, 200),
    "megabytes of codes": (64, 512, 2048),
    "megabytes of codes, refused": (64, 512, 2048),
    "kilobytes of memory for 8k": (3_500_000, 4_500_000, 8_000_000),
}
SMALL = (90, 120)
MEGABYTE = 1_000_000
W_DIM, WIDE_DIM = 16, 4096
"""Numbers a layer: of small codes, 640 bytes each, and of large ones, 164 kB."""

TRANSLATE = ("--way", "translate", "--range", "ignore")
OUT_OF_MEMORY = 6

Measured = dict[str, Any]


class Load:
    """Inputs of every size, made when they are needed and deleted afterwards, and the command on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        self.pair = self._pair("pair", W_DIM)

    def measure(
        self, *words: object, give: Callable[[IO[bytes]], object] | None = None, limit_kib: int = 0
    ) -> Measured:
        """Run a command: exit code, peak MB, seconds of the processor and of the clock. give: writes to its stdin."""
        line = [sys.executable, "-m", "refacer", *map(str, words)]
        variables = {**os.environ, "REFACER_PAIR": str(self.pair), "OMP_NUM_THREADS": "1"}
        if limit_kib:
            line = ["prlimit", f"--as={limit_kib * 1024}", *line]
        since = time.monotonic()
        pipe = subprocess.PIPE if give else subprocess.DEVNULL
        with (self.folder / "said").open("wb") as said:
            process = subprocess.Popen(line, stdin=pipe, stdout=subprocess.DEVNULL, stderr=said, env=variables)
        if give and process.stdin:
            Thread(target=give, args=(process.stdin,), daemon=True).start()
        status, used, peak_kib = watched(process.pid)
        told = (self.folder / "said").read_text(errors="replace").splitlines()
        return {
            "code": os.waitstatus_to_exitcode(status),
            "peak_mb": round(peak_kib * 1.024e-3),
            "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "seconds": round(time.monotonic() - since, 1),
            "last": told[-1:],
            "traceback": any("Traceback" in text for text in told),
        }

    def pictures(self, count: int) -> Measured:
        """A folder of small pictures with a face each."""
        (self.folder / "in").mkdir()
        with Image.open(LOOK) as look:
            small = look.convert("RGB").crop((75, 0, 225, 200)).resize(SMALL)
        pixels = np.asarray(small)
        for i in range(count):
            own = pixels.copy()
            own[-1, -1] = i % 256, i // 256 % 256, 7  # no two are the same
            Image.fromarray(own).save(self.folder / f"in/{i:05d}.png")
        report = self.folder / "report.ndjson"
        return self.measure("run", self.folder / "in", "-o", f"{self.folder}/out/", *TRANSLATE, "--report", report)

    def figures(self, count: int) -> Measured:
        """A sheet of dressed figures, as square as can be."""
        side = round(count**0.5)
        with Image.open(LOOK) as look:
            figure = look.convert("RGB")
        sheet = Image.new("RGB", (figure.width * side, figure.height * side))
        for i in range(count):
            sheet.paste(figure, (i % side * figure.width, i // side * figure.height))
        sheet.save(self.folder / "sheet.png")
        return self.measure("run", self.folder / "sheet.png", "-o", self.folder / "done.png", *TRANSLATE)

    def megapixels(self, count: int) -> Measured:
        """One picture, twice as high as wide, a figure in its middle."""
        width = round((count * MEGABYTE / 2) ** 0.5)
        path = self._large(width, 2 * width - 1)
        return self.measure("run", path, "-o", self.folder / "done.png", *TRANSLATE)

    def codes(self, megabytes: int) -> Measured:
        """Large codes through a pipe, each of which becomes a picture."""
        self.pair, usual = self._pair("wide", WIDE_DIM), self.pair
        try:
            return self._piped(megabytes, WIDE_DIM, finite=True)
        finally:
            self.pair = usual

    def refused(self, megabytes: int) -> Measured:
        """Small codes through a pipe, the last number of which is not finite: read and tested whole, then refused."""
        return self._piped(megabytes, W_DIM, finite=False)

    def memory(self, limit_kib: int) -> Measured:
        """8k, 7680x4320, in 16 bits where the address space is limited."""
        path = self.folder / "8k.png"
        with Image.open(self._large(7680, 4320)) as picture:
            pixels = np.asarray(picture).astype(np.uint16) * 257
        path.write_bytes(encode_display(pixels, Source(pixels), "PNG", None))
        return self.measure("run", path, "-o", self.folder / "done.png", *TRANSLATE, limit_kib=limit_kib)

    def _large(self, width: int, height: int) -> Path:
        """A picture with soft shades and a figure."""
        shade = Image.linear_gradient("L").resize((width, height))
        large = Image.merge("RGB", (shade, shade, shade))
        with Image.open(LOOK) as look:
            side = width // 3
            large.paste(look.convert("RGB").resize((side, side * look.height // look.width)), (side, height // 4))
        large.save(self.folder / "large.png", compress_level=1)
        return self.folder / "large.png"

    def _pair(self, name: str, w_dim: int) -> Path:
        (self.folder / name).mkdir(parents=True)
        write_pair(self.folder / name, w_dim)
        return self.folder / name

    def _piped(self, megabytes: int, w_dim: int, *, finite: bool) -> Measured:
        numbers = 10 * w_dim
        count = megabytes * MEGABYTE // (4 * numbers)
        at_once = max(1, 1_600_000 // numbers)

        def give(stream: IO[bytes]) -> None:
            shape = (count, 10, w_dim)
            npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
            block = np.resize(np.linspace(-1, 1, 1600, dtype=np.float32), (at_once, numbers))
            for start in range(0, count, at_once):
                part = block[: count - start].copy()
                if not finite and start + at_once >= count:
                    part[-1, -1] = np.nan
                stream.write(part.tobytes())
            stream.close()

        return self.measure("decode", "-", "-o", f"{self.folder}/out/", give=give)

    def clean(self) -> None:
        """Delete inputs and results."""
        for path in self.folder.iterdir():
            if path.name != "pair":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


KINDS: Mapping[str, Callable[[Load, int], Measured]] = dict(
    zip(SIZES, (Load.pictures, Load.figures, Load.megapixels, Load.codes, Load.refused, Load.memory), strict=True)
)


def watched(pid: int) -> tuple[int, resource.struct_rusage, int]:
    """Wait for a process: its status, what it used, and its peak memory in KiB.

    The system's own record of the peak will not do: it begins with what this process held when it started that one.
    """
    peak = 0
    while True:
        with suppress(OSError, StopIteration, ValueError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            peak = max(peak, int(next(line for line in lines if line.startswith("VmHWM")).split()[1]))
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            return status, used, peak
        time.sleep(0.02)


def wrong_with(kind: str, found: Measured) -> str:
    """What is wrong with how a command ended."""
    right = {"megabytes of codes, refused": (5,), "kilobytes of memory for 8k": (0, OUT_OF_MEMORY)}.get(kind, (0,))
    return f"exit code {found['code']}: {found['last']}" if found["code"] not in right or found["traceback"] else ""


def plot(lines: list[Measured], path: Path) -> None:
    """Peak memory and time against size, a column for each kind."""
    from matplotlib import pyplot

    shown = [kind for kind in list(SIZES)[:5] if any(line["kind"] == kind for line in lines)]
    figure, axes = pyplot.subplots(2, len(shown), figsize=(2.6 * len(shown), 4.2), squeeze=False)
    for column, kind in enumerate(shown):
        points = sorted((line["size"], line["peak_mb"], line["cpu_s"]) for line in lines if line["kind"] == kind)
        for row, (unit, values) in enumerate((("peak MB", 1), ("processor, s", 2))):
            axis = axes[row, column]
            axis.plot([point[0] for point in points], [point[values] for point in points], "o-", markersize=3)
            axis.set_ylim(bottom=0)
            axis.set_xlim(left=0)
            axis.tick_params(labelsize=7)
            axis.set_ylabel(unit if not column else "", fontsize=8)
        axes[1, column].set_xlabel(kind, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def sizes(only: list[str], most: int) -> Iterator[tuple[str, int]]:
    """Kinds and sizes, the small ones first."""
    for rank in range(max(map(len, SIZES.values()))):
        for kind in only:
            if rank < len(SIZES[kind]) and (kind != "pictures" or SIZES[kind][rank] <= most):
                yield kind, SIZES[kind][rank]


def main() -> None:
    """All sizes of all kinds, or the plot."""
    parser = arguments(__doc__, 0, SIZES)
    parser.add_argument("--most", type=int, default=5000, help="pictures in a folder")
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    journal = Journal(chosen.out / "load.jsonl")
    if chosen.plot:
        return plot(journal.lines, chosen.plot)
    load = Load(chosen.out / "load")
    for kind, size in sizes(chosen.only, chosen.most):
        if journal.has(f"{size} {kind}"):
            continue
        found = KINDS[kind](load, size)
        load.clean()
        wrong = wrong_with(kind, found)
        journal.add(f"{size} {kind}", kind, FAULT if wrong else "well", wrong, size=size, **found)
    return print(journal.table())


if __name__ == "__main__":
    main()
