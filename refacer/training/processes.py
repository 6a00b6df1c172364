"""Several processes as one trainer: what is summed, what is agreed on, and who writes.

Gradients are summed in one message an update, as the published loop does: DistributedDataParallel would have to be told
which parameters each of four phases uses, and second derivatives pass its hooks by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from refacer.errors import RefacerError, UsageError
from refacer.options import FinetuneOptions

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: reading a large set takes unequal times."""


@dataclass(frozen=True)
class Processes:
    """Which of how many this process is; alone it is the first of one and nothing is sent."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes; every one must call it. Alone, the tensor itself."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Sum the gradients over all processes; a phase leaves the same parameters without one everywhere."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        total = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers; on the host, so that no device is waited for."""
        if self.world == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def agree(self, *modules: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.world > 1:
            for module in modules:
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, src=0)

    def from_first(self, work: Callable[[], T]) -> T:
        """Work that only the first process does; all have its result, or leave with its error's exit code."""
        if self.world == 1:
            return work()
        outcome = [_outcome(work) if self.first else None]
        dist.broadcast_object_list(outcome, src=0)
        result, error = outcome[0] or (None, None)
        if error is None:
            return result  # pyright: ignore[reportReturnType]
        raise error if self.first else SystemExit(error.exit_code)


def _outcome(work: Callable[[], Any]) -> tuple[Any, RefacerError | None]:
    try:
        return work(), None
    except RefacerError as error:
        return None, error


@contextmanager
def joined(device: torch.device, environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """This process among those `torchrun` started, alone without it. CPU tensors travel by gloo, CUDA's by NCCL."""
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def device_name(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """The device of this process: under `torchrun` each one on a machine takes the GPU of its local rank."""
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        return name
    if ":" in name:
        raise UsageError(f"--device {name}: under torchrun each process takes a GPU of its own; use --device cuda")
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return f"cuda:{environment.get('LOCAL_RANK', '0')}"
    return name


def refuse_several(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raise UsageError under `torchrun`, for training that one process does alone."""
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"`{command}` trains in one process; start it without torchrun")


def parts_of(options: FinetuneOptions, world: int) -> int:
    """Into how many equal parts a batch is split: `--batch-gpu` images each, else one a process and round.

    Where the processes do not divide the batch, the parts are the largest that do. Raises UsageError.
    """
    batch, rounds, size = options.batch, options.accumulate, options.batch_gpu
    if batch % rounds:
        raise UsageError(f"--batch {batch} cannot be split into --accumulate {rounds} rounds")
    if size is not None and (batch % size or rounds > 1):
        raise UsageError(f"--batch {batch} cannot be split into parts of --batch-gpu {size} with --accumulate {rounds}")
    most = max(1, batch // (world * rounds))
    size = size or next(part for part in range(most, 0, -1) if batch % part == 0)
    if batch // size < world:
        raise UsageError(f"{world} processes, but --batch {batch} has {batch // size} parts; lower --batch-gpu")
    return batch // size
