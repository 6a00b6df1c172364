"""What trainers of networks from faces to codes share: examples, what a reconstruction is compared by, exact state.

Examples are real renders, the frozen generator's own pictures, or both; of the latter the true codes are known.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from refacer.device import dtype_of
from refacer.errors import UsageError
from refacer.images.pixels import scale_to_unit
from refacer.images.resampling import resized
from refacer.networks.perceptual import Perceptual, distance, features_in
from refacer.networks.stylegan2.networks import Generator
from refacer.options import EncoderOptions
from refacer.training.augment import jitter
from refacer.training.dataset import FaceDataset
from refacer.training.latents import mixed_codes
from refacer.training.optimizers import Ranger, clean_gradients
from refacer.training.processes import Processes
from refacer.training.random import RandomStreams
from refacer.training.statistics import Statistics

ADAM_BETAS = (0.9, 0.99)

Embeds = Callable[[Tensor], Tensor]
"""Aligned faces (N, 3, R, R) in [-1, 1] to vectors of length 1 that tell who they are."""

Optimizer = Ranger | torch.optim.Adam
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Judges:
    """What a reconstruction is compared by; identity: None where no such network is there. w_std: the spread of w."""

    perceptual: Perceptual
    w_std: float
    identity: Embeds | None = None


@dataclass(frozen=True)
class Examples:
    """Faces (N, 3, R, R) in [-1, 1], of which the last `len(codes)` are the generator's own."""

    faces: Tensor
    codes: Tensor


class ReconstructionTrainer(ABC, Generic[N]):
    """Everything that changes while a network learns how a frozen generator draws faces, on one device.

    network: learns, each of its `parts` with an optimiser of its own. generator: whose codes are learned.
    faces: aligned faces; None: the generator's own alone.

    Attributes:
        images_seen, iteration, statistics: how far it is, and means since they were last taken.
    """

    def __init__(
        self,
        network: N,
        generator: Generator,
        faces: FaceDataset | None,
        judges: Judges,
        options: EncoderOptions,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        self.processes = processes or Processes()
        if options.batch % self.processes.world:
            raise UsageError(f"--batch {options.batch} cannot be split over {self.processes.world} processes")
        self.share = options.batch // self.processes.world
        self.own = self.share if faces is None else round(self.share * options.samples)
        self.network: N = network.to(device).train()
        if device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)
        self.generator, self.faces, self.judges = generator.to(device), faces, judges
        self.options, self.device = options, device
        self.dtype = dtype_of(options.precision)
        self.learned = {name: list(part.parameters()) for name, part in self.parts(network).items()}
        self.optimizers: dict[str, Optimizer] = {name: self._optimizer(part) for name, part in self.learned.items()}
        self.random = RandomStreams(options.seed, device)
        self.statistics = Statistics(device)
        self.images_seen, self.iteration = 0, 0

    @staticmethod
    @abstractmethod
    def parts(network: N) -> Mapping[str, nn.Module]:
        """What of the network learns, by name."""

    def _optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        o = self.options
        if o.optimizer == "ranger":
            return Ranger(parameters, o.lr)
        return torch.optim.Adam(parameters, lr=o.lr, betas=ADAM_BETAS, fused=True)

    def step(self) -> None:
        """One iteration over one batch."""
        for name in self.learned:
            for group in self.optimizers[name].param_groups:
                group["lr"] = self.options.lr * self._rate()
        self.random.start("generator", self.iteration, self.processes.rank)
        self._learn(self._examples())
        self.images_seen += self.options.batch
        self.iteration += 1

    @abstractmethod
    def _learn(self, examples: Examples) -> None:
        """Take the gradients of a batch, and the optimisers' steps."""

    @abstractmethod
    def reconstructed(self, faces: Tensor) -> Tensor:
        """What the generator draws of the network's answer to faces, both (N, 3, R, R) in [-1, 1], without noise."""

    @property
    def done(self) -> float:
        """Share of the run that is over."""
        return self.images_seen / (self.options.kimg * 1000)

    def _rate(self) -> float:
        """Share of the learning rate."""
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.done)) if self.options.rate_falls else 1.0

    def _update(self, name: str, parameters: list[nn.Parameter]) -> None:
        """One step of an optimiser over the mean of all processes' gradients."""
        optimizer = self.optimizers[name]
        self.processes.sum_gradients(parameters)
        for parameter in parameters:
            if parameter.grad is not None and self.processes.world > 1:
                parameter.grad /= self.processes.world
        clean_gradients(parameters)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    # ------------------------------------------------------------ pictures

    def _examples(self) -> Examples:
        """This process's share of the batch."""
        o, g = self.options, self.generator
        real, found = self.share - self.own, []
        if self.faces is not None and real:
            position = self.iteration * real * self.processes.world + self.processes.rank * real
            faces = self.given(self.faces, position, real)
            found = [jitter(faces, o.jitter, self.random.cpu) if o.jitter else faces]
        codes = mixed_codes(g, self.own, o.psi, self.random.device) if self.own else g.mapping.w_avg.new_zeros(0)
        if self.own:
            with torch.no_grad():
                own = g.synthesis(codes, noise_mode="random", generator=self.random.device, dtype=self.dtype)
            found.append(resized(own.clamp(-1, 1), self.compared_px))
        return Examples(torch.cat(found), codes)

    def given(self, faces: FaceDataset, position: int, count: int) -> Tensor:
        """Faces of the set, (count, 3, R, R) in [-1, 1]."""
        return scale_to_unit(faces.batch(position, count).to(self.device))

    @torch.no_grad()
    def drawn_alone(self, count: int) -> Tensor:
        """What the generator draws of random codes without noise, (count, 3, R, R) in [-1, 1]."""
        codes = mixed_codes(self.generator, count, self.options.psi, self.random.device)
        return resized(self.generator.synthesis(codes, noise_mode="const").clamp(-1, 1), self.compared_px)

    @property
    def compared_px(self) -> int:
        """Side at which pictures are compared."""
        return min(self.options.compare_px, self.generator.img_resolution)

    def _reduced(self) -> torch.autocast:
        """The precision of convolutions."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype != torch.float32)

    # ------------------------------------------------------------ losses

    def _compared(self, faces: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """The losses of pictures (N, 3, R, R), by name."""
        terms = {"l2": (drawn - faces).square().mean(), "perceptual": self._apart(faces, drawn)}
        if self.judges.identity is not None and self.options.identity_weight:
            terms["identity"] = self._unlike(faces, drawn)
        return terms

    def _sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum; every term is noted by its name."""
        for name, value in terms.items():
            self.statistics.add(f"loss/{name}", value)
        return torch.stack([value * self.weights[name] for name, value in terms.items()]).sum()

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term by its name."""
        names = ("l2", "perceptual", "identity", "code", "prior", "delta", "adversarial")
        return {name: getattr(self.options, f"{name}_weight") for name in names}

    def _apart(self, faces: Tensor, drawn: Tensor) -> Tensor:
        """The perceptual distance, as in Eq. 4."""
        with torch.no_grad():
            target = features_in(self.dtype, self.judges.perceptual, faces)
        return distance(features_in(self.dtype, self.judges.perceptual, drawn), target).mean()

    def _unlike(self, faces: Tensor, drawn: Tensor) -> Tensor:
        """1 minus the cosine of who they are."""
        assert self.judges.identity is not None
        with self._reduced():
            with torch.no_grad():
                target = self.judges.identity(faces).float()
            return 1 - (self.judges.identity(drawn).float() * target).sum(1).mean()

    # ------------------------------------------------------------ what a log and a checkpoint need

    def measure(self) -> dict[str, Any]:
        """Further numbers for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly: tensors, numbers and nothing else. Every process calls it.

        Each process has its own statistics of batch normalisation; the first one's are kept.
        """
        self.processes.agree(self.network)
        return {
            "network": self.network.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "statistics": self.statistics.state_dict(self.processes.sum),
            "images_seen": self.images_seen,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state made by `state_dict`, on any device."""
        self.network.load_state_dict(state["network"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.statistics.load_state_dict(state["statistics"], share=int(self.processes.first))
        self.images_seen, self.iteration = state["images_seen"], state["iteration"]
