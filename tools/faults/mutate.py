"""Files that were damaged on purpose: each must be read or refused in a line, within bounds of time and memory.

    python -m tools.faults.mutate --count 20000 --out DIR [--seed 0] [--only video direction]

Every damaged file follows from the seed, the kinds chosen and its number; a kind is named up to its comma. A process of
its own reads them, with bounded memory; where it dies or is silent for too long, the number is a fault and the next
process goes on behind it. What is found lies in DIR, the journal in DIR/mutate.jsonl.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import re
import resource
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from refacer.errors import RefacerError
from refacer.files import png
from tools.faults.pictures import Specimen
from tools.faults.specimens import specimens
from tools.faults.trials import FAULT, Journal, arguments

MEMORY_BYTES = 1 << 30
"""What reading one damaged file may take, beyond what the process held before."""

SECONDS = 10.0
"""How much of the processor's time one file may take."""

SILENT_SECONDS = 600.0  # a busy machine needs some for the start alone
VALUE = re.compile(rb'-?\d[\d.e+-]*|"[^"]*"|true|false|null')
WORDS = (
    b"null", b"true", b"-1", b"0", b"0.5", b"1e999", b"NaN", b"9" * 5000, b'""', b'"a"', b'"\\ud800"', b'"../a"',
    b"[]", b"[1]", b"{}", b'{"a": 1}', b"[" * 100_000,
)  # fmt: skip
TELLING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(specimen: Specimen, others: list[Specimen], seed: int, number: int) -> bytes:
    """A specimen's bytes, damaged in one to four places; those of a PNG often with checksums that fit again."""
    draw = random.Random(f"{seed} {number}")
    data = bytearray(specimen.data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        if data:
            draw.choice(REWORDING if data[:1] in (b"{", b"[") else CHANGES)(data, draw, others)
    fitting = png.is_png(bytes(data)) and draw.random() < 0.7
    return _with_checksums(bytes(data)) if fitting else bytes(data)


def _flip(data: bytearray, draw: random.Random, _: list[Specimen]) -> None:
    data[_place(data, draw)] ^= 1 << draw.randrange(8)


def _overwrite(data: bytearray, draw: random.Random, _: list[Specimen]) -> None:
    at = _place(data, draw)
    data[at : at + draw.choice((1, 2, 4, 8))] = bytes([draw.choice(TELLING)]) * draw.choice((1, 2, 4, 8))


def _cut(data: bytearray, draw: random.Random, _: list[Specimen]) -> None:
    del data[_place(data, draw) :]


def _drop(data: bytearray, draw: random.Random, _: list[Specimen]) -> None:
    at = _place(data, draw)
    del data[at : at + draw.randrange(1, 64)]


def _repeat(data: bytearray, draw: random.Random, _: list[Specimen]) -> None:
    at = _place(data, draw)
    data[at:at] = data[at : at + draw.randrange(1, 256)] * draw.choice((1, 2, 50))


def _graft(data: bytearray, draw: random.Random, others: list[Specimen]) -> None:
    other = draw.choice(others).data
    at, start = _place(data, draw), draw.randrange(len(other))
    data[at:at] = other[start : start + draw.randrange(1, 256)]


def _reword(data: bytearray, draw: random.Random, _: list[Specimen]) -> None:
    """Put something else in the place of a value or a name of JSON."""
    values = list(VALUE.finditer(data))
    if values:
        chosen = draw.choice(values)
        data[chosen.start() : chosen.end()] = draw.choice(WORDS)


CHANGES: tuple[Callable[[bytearray, random.Random, list[Specimen]], None], ...] = (
    _flip, _flip, _overwrite, _overwrite, _cut, _drop, _repeat, _graft,
)  # fmt: skip
REWORDING = (*CHANGES, *[_reword] * 3 * len(CHANGES))
"""For texts: a byte that is wrong seldom leaves JSON."""


def _place(data: bytearray, draw: random.Random) -> int:
    """A place in the file: half of them among its first bytes, where its claims are."""
    return draw.randrange(min(len(data), 256) if draw.random() < 0.5 else len(data))


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks, as far as they can be followed, have checksums that fit."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(fixed)


def fault_of(specimen: Specimen, path: Path) -> tuple[str, str]:
    """'read', 'refused' or 'fault', and what the fault is."""
    began = time.process_time()
    try:
        specimen.read(path)
        status, told = "read", ""
    except RefacerError as error:
        status, told = "refused", str(error)
        if "\n" in told:
            return FAULT, f"a message of several lines: {told!r}"
    except BaseException as error:
        return FAULT, f"{type(error).__name__}: {error}"[:300]
    seconds = time.process_time() - began
    return (FAULT, f"took {seconds:.1f} s") if seconds > SECONDS else (status, told)


def chosen_kinds(only: list[str]) -> list[Specimen]:
    """The kinds that are damaged; all of them where none is named."""
    return [one for one in specimens() if not only or one.kind.partition(",")[0] in only]


def read_some(seed: int, first: int, count: int, only: list[str], folder: Path) -> None:
    """In the process of its own: read damaged files, a line of JSON before and after each."""
    kinds = chosen_kinds(only)
    warnings.simplefilter("ignore")
    for specimen in kinds:  # what is loaded late must not count as the file's memory
        path = folder / f"whole{specimen.suffix}"
        path.write_bytes(specimen.data)
        specimen.read(path)
    gc.collect()
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, resource.RLIM_INFINITY))
    for number in range(first, first + count):
        specimen = kinds[number % len(kinds)]
        path = folder / f"damaged{specimen.suffix}"
        path.write_bytes(mutated(specimen, kinds, seed, number))
        print(json.dumps({"begins": number, "kind": specimen.kind}), flush=True)
        status, told = fault_of(specimen, path)
        print(json.dumps({"ended": number, "status": status, "told": told}), flush=True)


def campaign(seed: int, count: int, only: list[str], out: Path, journal: Journal) -> None:
    """Read all that the journal does not know yet."""
    kinds = chosen_kinds(only)

    def add(number: int, status: str, told: str) -> None:
        specimen = kinds[number % len(kinds)]
        journal.add(number, specimen.kind, status, told)
        if status == FAULT:
            (out / f"fault-{seed}-{number}{specimen.suffix}").write_bytes(mutated(specimen, kinds, seed, number))

    while (first := len(journal.lines)) < count:
        for line in _lines(seed, first, count - first, only, out):
            if "ended" in line:
                add(line["ended"], line["status"], line["told"])
        if len(journal.lines) < count:  # the process died, or was silent
            add(len(journal.lines), FAULT, "the process died or hung")


def _lines(seed: int, first: int, count: int, only: list[str], out: Path) -> Iterator[dict[str, Any]]:
    """What the process of its own says; it is ended where it is silent for too long."""
    command = [sys.executable, "-m", "tools.faults.mutate", "--read", f"{seed},{first},{count}", "--out", str(out)]
    command += ["--only", *only] if only else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines: Queue[str | None] = Queue()
        assert process.stdout is not None
        stream = process.stdout
        Thread(target=lambda: [*map(lines.put, stream), lines.put(None)], daemon=True).start()
        try:
            while (line := lines.get(timeout=SILENT_SECONDS)) is not None:
                yield json.loads(line)
        except Empty:
            process.kill()


def main() -> None:
    """The campaign, or a part of it in a process of its own."""
    parser = arguments(__doc__, 20_000)
    parser.add_argument("--only", nargs="+", default=[], help="these kinds alone")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read:
        seed, first, count = map(int, chosen.read.split(","))
        read_some(seed, first, count, chosen.only, chosen.out)
        return
    journal = Journal(chosen.out / "mutate.jsonl")
    campaign(chosen.seed, chosen.count, chosen.only, chosen.out, journal)
    print(journal.table())


if __name__ == "__main__":
    main()
