"""Choice of the device, seeding, and what to do when its memory does not suffice."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import torch

from refacer.errors import UsageError
from refacer.options import Precision

T = TypeVar("T")
R = TypeVar("R")

ONE_THREAD_PX = 256
UNKNOWN_FREE = 4 * 1024**3
ALLOCATOR_MESSAGES = ("not enough memory", "can't allocate memory", "out of memory")


def choose_device(name: str = "auto") -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:N' or 'mps' -> a device that exists; raises UsageError otherwise."""
    if name == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda, cuda:N or mps") from error
    if not _exists(device):
        raise UsageError(f"--device {name}: not available here; use --device cpu")
    return device


def machine_name(device: torch.device) -> str:
    """What a measurement or a run was made on: the GPU's name, else the processor's kind and the device's."""
    return (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} {device.type.upper()}"
    )


def dtype_of(precision: Precision) -> torch.dtype:
    """What activations and convolutions are computed in."""
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def require_compiler(device: torch.device) -> None:
    """Raise UsageError where torch.compile cannot work for a device: a C++ compiler or Triton is missing."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=device))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"--compile: torch.compile does not work here ({reason}); run without it") from error


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let torch work on the CPU in one thread, if `wanted`.

    Small networks gain little from more, and a busy neighbour on one core keeps all of them waiting at every step
    (docs/performance.md). What is computed does not depend on the machine's cores then.
    """
    threads = torch.get_num_threads()
    if not wanted or threads == 1:  # nothing to give back, so that this may be nested in threads
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def suits_one_thread(device: torch.device, resolution: int) -> bool:
    """Whether networks for pictures of so many pixels a side are worked with in one thread."""
    return device.type == "cpu" and resolution <= ONE_THREAD_PX


def free_memory() -> int:
    """Bytes that are free in the machine's memory, and in the container's; UNKNOWN_FREE where nobody tells."""
    free = [UNKNOWN_FREE]
    with suppress(OSError, ValueError, KeyError):
        known = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = [int(known["MemAvailable"].split()[0]) * 1024]
    with suppress(OSError, ValueError):  # "max" is no number
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free.append(max(limit - used, 0))
    return min(free)


def seeded_generator(seed: int) -> torch.Generator:
    """A generator of its own for one face: drawn on the CPU, so that every device sees the same numbers."""
    return torch.Generator("cpu").manual_seed(seed)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on any device; torch has no one type for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in ALLOCATOR_MESSAGES)


def in_batches(work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], size: int) -> list[R]:
    """`work` on at most `size` items at a time; where memory does not suffice the batch is halved, down to one."""
    done: list[R] = []
    while len(done) < len(items):
        chunk = items[len(done) : len(done) + size]
        try:
            done += work(chunk)
        except (MemoryError, RuntimeError) as error:
            if len(chunk) == 1 or not is_out_of_memory(error):
                raise
            size = len(chunk) // 2
        else:
            continue
        _release_memory()
    return done


def _release_memory() -> None:
    """Give cached blocks back after an error; a no-op on the CPU."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _exists(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
