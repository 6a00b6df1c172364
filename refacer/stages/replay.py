"""One step of an optimisation as a CUDA graph: a GPU gets a thousand small kernels at once instead of one by one."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels and optimisers make their state."""

RECORDING = Lock()
"""One thread records at a time: whoever begins waits for the whole GPU, which would spoil another's recording."""

Step = Callable[[], tuple[Tensor, ...]]


def replayed(step: Step, device: torch.device) -> Step:
    """The step, recorded when it was taken a few times, and replayed from then on; on a CPU the step itself.

    step: reads and writes the same tensors every time, draws nothing at random and waits for nothing. Numbers that
    change between steps must be tensors on the device.
    """
    return _Replayed(step, device) if device.type == "cuda" else step


class _Replayed:
    """See `replayed`."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self.step, self.device, self.taken = step, device, 0
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.results: tuple[Tensor, ...] = ()

    def __call__(self) -> tuple[Tensor, ...]:
        """Take the step; what it gives stays as it is."""
        with torch.cuda.device(self.device):
            if self.graph is None:
                self.taken += 1
                if self.taken <= WARM_UP:
                    return self._beside()
                self.graph = self._recorded()
            self.graph.replay()
            return tuple(result.clone() for result in self.results)

    def _beside(self) -> tuple[Tensor, ...]:
        """The step itself, on the stream that will be recorded."""
        usual = torch.cuda.current_stream()
        self.stream.wait_stream(usual)
        with torch.cuda.stream(self.stream):
            found = self.step()
        usual.wait_stream(self.stream)
        return found

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """Record the step without taking it. Other threads may go on using the GPU meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with RECORDING, torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            self.results = self.step()
        return graph
