"""Train an encoder of faces into a frozen generator's W+ codes, on real renders, the generator's own pictures, or both.

The losses of pSp, e4e and ReStyle; of the generator's own pictures the true codes are known, too. The trainer holds
everything that changes; `state_dict` is enough to go on exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from refacer.device import dtype_of
from refacer.errors import UsageError
from refacer.images.pixels import scale_to_unit
from refacer.images.resampling import resized
from refacer.networks.encoders import FaceEncoder
from refacer.networks.perceptual import Perceptual, distance
from refacer.networks.stylegan2.networks import Generator
from refacer.options import EncoderOptions, WStatistics
from refacer.stages.code_prior import code_prior
from refacer.training.augment import jitter
from refacer.training.dataset import FaceDataset
from refacer.training.latents import (
    CodePool,
    LatentDiscriminator,
    gradient_penalty,
    logistic_loss,
    mixed_codes,
    of_random_layers,
)
from refacer.training.losses import generator_loss
from refacer.training.optimizers import Ranger, clean_gradients
from refacer.training.processes import Processes
from refacer.training.random import RandomStreams
from refacer.training.statistics import Statistics

ADAM_BETAS = (0.9, 0.99)

Embeds = Callable[[Tensor], Tensor]
"""Aligned faces (N, 3, R, R) in [-1, 1] to vectors of length 1 that tell who they are."""


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


class EncoderTrainer:
    """Everything that changes while an encoder learns, on one device.

    generator: whose codes are learned; it stays as it is. faces: aligned faces; None: the generator's own alone.

    Attributes:
        images_seen, iteration, statistics: how far it is, and means since they were last taken.
    """

    def __init__(
        self,
        encoder: FaceEncoder,
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
        self.encoder = encoder.to(device).train()
        if device.type == "cuda":
            self.encoder.to(memory_format=torch.channels_last)
        self.generator, self.faces, self.judges = generator.to(device), faces, judges
        self.options, self.device = options, device
        self.dtype = dtype_of(options.precision)
        self.trained = list(self.encoder.encoder.parameters())
        self.optimizer: Ranger | torch.optim.Adam
        if options.optimizer == "ranger":
            self.optimizer = Ranger(self.trained, options.lr)
        else:
            self.optimizer = torch.optim.Adam(self.trained, lr=options.lr, betas=ADAM_BETAS, fused=True)
        self.discriminator = LatentDiscriminator(generator.w_dim).to(device)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=options.d_lr)
        self.pools = {name: CodePool(generator.w_dim, device) for name in ("real", "fake")}
        self.prior = code_prior(self.generator, WStatistics()) if options.prior_weight else None
        self.random = RandomStreams(options.seed, device)
        self.statistics = Statistics(device)
        self.images_seen, self.iteration = 0, 0

    def step(self) -> None:
        """One iteration over one batch: the encoder's and, for e4e, the latent discriminator's."""
        o = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = o.lr * self._rate()
        self.random.start("generator", self.iteration, self.processes.rank)
        examples, config = self._examples(), self.encoder.config
        seen = resized(examples.faces, config.input_px)
        codes = self.encoder.start(self.share)
        for _ in range(config.passes if config.iterates else 1):
            codes = codes.detach() + self._offsets(self.encoder.beside(seen, codes, self.generator))
            self._loss(examples, codes).backward()
        self._update(self.optimizer, self.trained)
        if self.adversarial:
            self.random.start("discriminator", self.iteration, self.processes.rank)
            self._judge(codes.detach())
        self.images_seen += o.batch
        self.iteration += 1

    @property
    def adversarial(self) -> bool:
        """Whether a discriminator keeps the codes near those of random z."""
        return self.encoder.config.has_deltas and self.options.adversarial_weight > 0

    @property
    def deltas(self) -> int:
        """How many heads add to the first code by now; e4e lets them in one by one."""
        o, most = self.options, self.encoder.config.num_ws - 1
        since = self.images_seen / (o.kimg * 1000) - o.deltas_from
        return 0 if since < 0 else min(most, 1 + int(since / max(o.deltas_every, 1e-9)))

    def _rate(self) -> float:
        """Share of the learning rate."""
        o = self.options
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.images_seen / (o.kimg * 1000))) if o.rate_falls else 1.0

    def _update(self, optimizer: Ranger | torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
        """One step over the mean of all processes' gradients."""
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
            faces = scale_to_unit(self.faces.batch(position, real).to(self.device))
            found = [jitter(faces, o.jitter, self.random.cpu) if o.jitter else faces]
        codes = mixed_codes(g, self.own, o.psi, self.random.device) if self.own else g.mapping.w_avg.new_zeros(0)
        if self.own:
            with torch.no_grad():
                own = g.synthesis(codes, noise_mode="random", generator=self.random.device, dtype=self.dtype)
            found.append(resized(own.clamp(-1, 1), self.compared_px))
        return Examples(torch.cat(found), codes)

    @property
    def compared_px(self) -> int:
        """Side at which pictures are compared."""
        return min(self.options.compare_px, self.generator.img_resolution)

    def _offsets(self, images: Tensor) -> Tensor:
        """The network's answer, in its precision."""
        with self._reduced():
            return self.encoder.encoder(images, self.deltas).float()

    def _reduced(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype != torch.float32)

    # ------------------------------------------------------------ losses

    def _loss(self, examples: Examples, codes: Tensor) -> Tensor:
        """The weighted sum; every term is noted by its name."""
        drawn = self._drawn(codes)
        terms = {"l2": (drawn - examples.faces).square().mean(), "perceptual": self._apart(examples.faces, drawn)}
        if self.judges.identity is not None and self.options.identity_weight:
            terms["identity"] = self._unlike(examples.faces, drawn)
        if len(examples.codes):
            terms["code"] = self._wrong(codes[-len(examples.codes) :], examples.codes)
        if self.prior is not None:
            terms["prior"] = self.prior(codes).mean()
        if self.encoder.config.has_deltas and (deltas := self.deltas):
            added = codes[:, 1 : deltas + 1] - codes[:, :1]
            terms["delta"] = added.norm(dim=2).mean(0).sum()
        if self.adversarial:
            kept = codes[:, : self.deltas + 1].flatten(0, 1)
            terms["adversarial"] = generator_loss(self.discriminator.requires_grad_(False)(kept)[:, None]).mean()
        for name, value in terms.items():
            self.statistics.add(f"loss/{name}", value)
        return torch.stack([value * self.weights[name] for name, value in terms.items()]).sum()

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term by its name."""
        names = ("l2", "perceptual", "identity", "code", "prior", "delta", "adversarial")
        return {name: getattr(self.options, f"{name}_weight") for name in names}

    def _drawn(self, codes: Tensor) -> Tensor:
        """The codes' pictures at the side at which they are compared."""
        images = self.generator.synthesis(
            codes, noise_mode="random", generator=self.random.device, modulate="activations", dtype=self.dtype
        )
        return resized(images, self.compared_px)

    def _apart(self, faces: Tensor, drawn: Tensor) -> Tensor:
        """The perceptual distance, as in Eq. 4."""
        with self._reduced():
            with torch.no_grad():
                target = self.judges.perceptual.features(faces).float()
            return distance(self.judges.perceptual.features(drawn).float(), target).mean()

    def _unlike(self, faces: Tensor, drawn: Tensor) -> Tensor:
        """1 minus the cosine of who they are."""
        assert self.judges.identity is not None
        with self._reduced():
            with torch.no_grad():
                target = self.judges.identity(faces).float()
            return 1 - (self.judges.identity(drawn).float() * target).sum(1).mean()

    def _wrong(self, codes: Tensor, true: Tensor) -> Tensor:
        """Squared distance of codes, in units of the spread of w."""
        return (codes - true).square().sum(2).mean() / self.judges.w_std**2

    def _judge(self, codes: Tensor) -> None:
        """The latent discriminator's own step, and R1 now and then."""
        o, random, g = self.options, self.random.device, self.generator
        with torch.no_grad():
            z = torch.randn(self.share, g.z_dim, generator=random, device=self.device)
            real = self.pools["real"].query(g.mapping(z)[:, 0], random)
            fake = self.pools["fake"].query(of_random_layers(codes, random), random)
        d = self.discriminator.requires_grad_(True)
        loss = logistic_loss(d(real), d(fake))
        self.statistics.add("loss/discriminator", loss)
        loss.backward()
        self._update(self.d_optimizer, list(d.parameters()))
        if self.iteration % o.d_interval == 0:
            real = real.detach().requires_grad_(True)
            penalty = gradient_penalty(d(real), real)
            (penalty * (o.d_gamma / 2 * o.d_interval)).backward()
            self._update(self.d_optimizer, list(d.parameters()))

    # ------------------------------------------------------------ what a log and a checkpoint need

    def measure(self) -> dict[str, Any]:
        """How many codes of their own the layers have by now."""
        return {"deltas": self.deltas} if self.encoder.config.has_deltas else {}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly: tensors, numbers and nothing else. Every process calls it.

        Each process has its own statistics of batch normalisation and pools; the first one's are kept.
        """
        self.processes.agree(self.encoder)
        return {
            "encoder": self.encoder.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "pools": {name: pool.kept for name, pool in self.pools.items()},
            "statistics": self.statistics.state_dict(self.processes.sum),
            "images_seen": self.images_seen,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state made by `state_dict`, on any device."""
        for name in ("encoder", "discriminator", "optimizer", "d_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        for name, kept in state["pools"].items():
            self.pools[name].kept = kept.to(self.device)
        self.statistics.load_state_dict(state["statistics"], share=int(self.processes.first))
        self.images_seen, self.iteration = state["images_seen"], state["iteration"]
