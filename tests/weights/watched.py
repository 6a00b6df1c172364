"""Reads every file of a folder as weights, in a process that notes what the files make it do; prints that as JSON.

Everything is imported and used once on harmless files before the watch begins, as imports execute modules.
"""

import codecs
import json
import os
import resource
import sys
import time
from pathlib import Path

import torch

from refacer.errors import InputRefused
from refacer.weights.convert import convert, load_generator_file

FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "os.putenv",
    "subprocess.Popen", "exec", "compile", "import", "socket.", "ctypes.", "pickle.find_class", "marshal.", "shutil.",
    "code.__new__", "function.__new__", "urllib.", "webbrowser.", "sys.addaudithook",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
MORE_MEMORY_BYTES = 1 << 30

watching = False
events: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    """An audit hook: note what a reader has no business doing."""
    if not watching:
        return
    if event.startswith(FORBIDDEN):
        events.append(f"{event} {str(arguments)[:80]}")
    if event == "open" and (arguments[2] or 0) & WRITING:
        events.append(f"open for writing {arguments[0]!r}")


def attempt(path: Path) -> tuple[str, str, float]:
    """What became of a file: 'read', 'refused' or the name of another error; the message; seconds."""
    start = time.process_time()
    outcome, message = "read", ""
    try:
        (load_generator_file if path.suffix == ".load" else convert)(path)
    except InputRefused as error:
        outcome, message = "refused", str(error)
    except BaseException as error:
        outcome, message = type(error).__name__, str(error)[:200]
    return outcome, message, time.process_time() - start


def main(harmless: Path, hostile: Path) -> None:
    """Warm up on one folder, then watch over the other."""
    global watching
    torch.set_num_threads(1)
    for codec in ("raw_unicode_escape", "cp437", "latin1", "ascii"):  # modules that pickletools and zipfile load late
        codecs.lookup(codec)
    warm = [attempt(path)[:2] for path in sorted(harmless.iterdir())]
    sys.addaudithook(watch)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MORE_MEMORY_BYTES, size + MORE_MEMORY_BYTES))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watching = True
    found = {path.name: attempt(path) for path in sorted(hostile.iterdir())}
    watching = False
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    report = {"warm": warm, "found": found, "events": list(events), "grown_kib": grown}
    watching = True
    os.system("true")
    exec("1")
    report["noticed"] = events[len(report["events"]) :]
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
