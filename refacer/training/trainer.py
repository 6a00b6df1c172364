"""One iteration of StyleGAN2-ADA training with a rule's losses, the paper's two by default (Sec. 3.2), as it happens.

Gmain, Greg, Dmain, Dreg, averaged generator, ADA. The trainer holds everything that changes; `state_dict` is enough to
go on exactly.

A batch is computed in equal parts, in rounds and by any number of processes: part k is the pictures from k times its
size on, with the random numbers that RandomStreams seeds for it, and process r of W takes the parts r, r + W, ... Only
sums over all parts reach what is trained or remembered, so that the same parts give the same run, up to the order of
the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from refacer.images.pixels import scale_to_unit
from refacer.networks.stylegan2.mapping import W_AVG_BETA
from refacer.options import FinetuneOptions
from refacer.training import losses
from refacer.training.augment import AdaController, Augment, jitter
from refacer.training.dataset import FaceDataset
from refacer.training.generate import ForwardPasses, TrainingNetworks, precision_of, trainable_parameters
from refacer.training.optimizers import clean_gradients, lazy_adam, lerp_towards
from refacer.training.processes import Processes, parts_of
from refacer.training.random import RandomStreams
from refacer.training.rules import PAPER, Rule, Term
from refacer.training.statistics import Statistics, gradient_norms

MEASURED = 8
"""Pictures at which gradients are measured."""


class Trainer:
    """Everything that changes during training, on one device, perhaps as one process of several."""

    def __init__(
        self,
        nets: TrainingNetworks,
        data: FaceDataset | None,
        options: FinetuneOptions,
        device: torch.device,
        processes: Processes | None = None,
        rule: Rule = PAPER,
    ) -> None:
        """data: None for a rule without adversary, which learns from no pictures."""
        o = options
        self.rule = rule
        self.nets, self.data, self.options, self.device = nets, data, options, device
        self.processes = processes or Processes()
        self.parts = parts_of(o, self.processes.world)
        self.processes.agree(nets.generator, nets.discriminator, nets.generator_ema)

        # What is optimised, and how.
        self.g_parameters = trainable_parameters(nets.generator, rule.frozen if o.freeze else ())
        self.d_parameters = rule.judging(nets.discriminator)
        self.g_optimizer = lazy_adam(self.g_parameters, o, o.pl_interval if o.pl_weight else None)
        self.d_optimizer = lazy_adam(self.d_parameters, o, o.r1_interval)

        # What is remembered from one iteration to the next.
        self.images_seen, self.iteration = 0, 0
        self.pl_mean = torch.zeros([], device=device)
        self.batch_sum = torch.zeros([], device=device)  # over the parts of one phase
        self.augment = Augment(o.aug_p).to(device)
        self.ada = AdaController(self.augment, target=o.ada_target, interval=o.ada_interval, ada_kimg=o.ada_kimg)
        self.statistics = Statistics(device)

        self.random = RandomStreams(o.seed, device)
        self.passes = ForwardPasses(nets, self.augment, self.random, o, device, precision_of(o, device), rule.layered)

    @property
    def terms(self) -> Mapping[str, Term]:
        """The rule's losses between both generators, by name."""
        return self.rule.terms(self.nets, self.options, self.passes.dtype)

    def step(self) -> None:
        """One iteration over one batch; nothing here waits for the device."""
        o = self.options
        self._prefetch()

        # Gmain: the adversarial loss and the rule's own, sketch and colour in the paper's (Eq. 3).
        self._update("generator", self._generator_loss)

        # Greg: path length, now and then.
        if o.pl_weight and self.iteration % o.pl_interval == 0:
            self._update("path_length", self._path_length_loss)
            self.pl_mean = self.pl_mean.lerp(self._batch_mean(), o.pl_decay)

        # Dmain: the adversarial loss on generated and real pictures.
        if self.rule.adversarial:
            self._update("discriminator", self._discriminator_loss)
        if not o.freeze:
            self.nets.generator.mapping.w_avg.lerp_(self._batch_mean(), 1 - W_AVG_BETA)

        # Dreg: R1, now and then.
        if self.rule.adversarial and self.iteration % o.r1_interval == 0:
            self._update("r1", self._r1_loss)

        self.images_seen += o.batch
        self.iteration += 1

        # The averaged generator, with a half-life in images.
        lerp_towards(self.nets.generator_ema, self.nets.generator, 0.5 ** (o.batch / max(o.ema_kimg * 1000, 1e-8)))

        # ADA's probability follows the signs of the logits of real pictures.
        if o.aug == "ada" and self.iteration % o.ada_interval == 0:
            self.ada.sums = self.processes.sum(self.ada.sums)
            self.ada.update(o.batch)

    def _prefetch(self) -> None:
        """Let the next iteration's pictures be decoded during this one."""
        if self.data is None:
            return
        size, total = self.options.batch // self.parts, round(self.options.kimg * 1000)
        starts = (
            first + part * size
            for first in (self.images_seen, self.images_seen + self.options.batch)
            for part in range(self.processes.rank, self.parts, self.processes.world)
            if first < total or first == self.images_seen
        )
        self.data.prepare(position for start in starts for position in range(start, start + size))

    def _update(self, phase: str, loss: Callable[[int, int], Tensor]) -> None:
        """Accumulate a loss's gradient over this process's parts, sum it over all processes, clean it, step.

        loss(start, count): of the `count` pictures from `start` of the batch on, a value each.
        """
        of_generator = phase in ("generator", "path_length")
        parameters = self.g_parameters if of_generator else self.d_parameters
        optimizer = self.g_optimizer if of_generator else self.d_optimizer
        size = self.options.batch // self.parts
        self.batch_sum = torch.zeros([], device=self.device)
        for parameter in parameters:
            parameter.requires_grad_(True)
        for part in range(self.processes.rank, self.parts, self.processes.world):
            self.random.start(phase, self.iteration, part)
            (loss(part * size, size).mean() / self.parts).backward()
        for parameter in parameters:
            parameter.requires_grad_(False)
        self.processes.sum_gradients(parameters)
        clean_gradients(parameters)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _batch_mean(self) -> Tensor:
        """The mean over all parts, of all processes, of what the last phase added to `batch_sum`."""
        return self.processes.sum(self.batch_sum) / self.parts

    # ------------------------------------------------------------ the losses of the four phases, (count,) each

    def _generator_loss(self, _start: int, count: int) -> Tensor:
        """L_G of Eq. 3."""
        ws = self.passes.sample_ws(count)
        if not self.rule.adversarial:
            return torch.as_tensor(self._term_losses(ws))
        logits = self.passes.discriminate(self.passes.generate(ws))
        adversarial = self.rule.generator_loss(logits)
        self.statistics.add("loss/generator", adversarial)
        self.statistics.add("signs/fake", logits.sign())
        return adversarial + self._term_losses(ws)

    def _term_losses(self, ws: Tensor) -> Tensor | float:
        """The rule's weighted losses between both generators on the same codes, such as Eq. 3's."""
        weighed = {name: term for name, term in self.terms.items() if term.weight}
        if self.nets.real is None or not weighed:
            return 0.0
        total: Tensor | float = 0.0
        real, rendering = self.passes.generate_pair(ws, self.rule.noise)
        for name, term in weighed.items():
            values = term.loss(real, rendering)
            self.statistics.add(f"loss/{name}", values)
            total = total + values * term.weight
        return total

    def _path_length_loss(self, _start: int, count: int) -> Tensor:
        """Path-length regularisation on a part of the batch, in float32 (Karras et al. 2020, Eq. 4)."""
        o = self.options
        ws = self.passes.sample_ws(max(1, count // o.pl_batch_shrink))
        ws = ws if ws.requires_grad else ws.detach().requires_grad_(True)
        images = self.nets.generator.synthesis(ws, noise_mode="random", generator=self.random.device)
        lengths = losses.path_lengths(images, ws, self.passes.normal(images.shape))
        mean = lengths.detach().mean()
        self.batch_sum = self.batch_sum + mean
        penalty = (lengths - self.pl_mean.lerp(mean, o.pl_decay)).square()
        self.statistics.add("loss/path_length", penalty)
        return penalty * (o.pl_weight * o.pl_interval)

    def _discriminator_loss(self, start: int, count: int) -> Tensor:
        """Logistic loss on generated and real pictures, both augmented."""
        with torch.no_grad():
            ws = self.passes.sample_ws(count)
            fake = self.passes.generate(ws)
        if not self.options.freeze:  # w_avg will follow the mean
            self.batch_sum = self.batch_sum + ws[:, 0].mean(0)
        fake_logits = self.passes.discriminate(fake)
        real_logits = self.passes.discriminate(self._real_images(start, count))
        if self.options.aug == "ada":
            self.ada.accumulate(real_logits)
        loss = self.rule.discriminator_loss(real_logits, fake_logits)
        self.statistics.add("loss/discriminator", loss)
        self.statistics.add("signs/real", real_logits.sign())
        return loss

    def _r1_loss(self, start: int, count: int) -> Tensor:
        """R1 on the real pictures before augmentation, in float32."""
        o = self.options
        images = self._real_images(start, count).requires_grad_(True)
        logits = self.nets.discriminator(self.passes.augmented(images))
        penalty = losses.r1_penalty(logits, images)
        self.statistics.add("loss/r1", penalty)
        return penalty * (o.gamma / 2 * o.r1_interval)

    def _real_images(self, start: int, count: int) -> Tensor:
        """Real pictures of this iteration, (count, 3, R, R) in [-1, 1]."""
        assert self.data is not None
        images = scale_to_unit(self.data.batch(self.images_seen + start, count).to(self.device))
        return jitter(images, self.options.jitter, self.random.cpu) if self.options.jitter else images

    # ------------------------------------------------------------ what a log and a checkpoint need

    def measure(self) -> dict[str, Any]:
        """`gradient_norms` of each loss at a picture, and ADA's p as `augment_p`."""
        return {"gradient_norms": self.gradient_norms(), "augment_p": float(self.augment.p)}

    def gradient_norms(self, count: int = MEASURED) -> dict[str, float]:
        """Norm of each loss's gradient at `count` generated pictures; the run is not changed by measuring."""
        self.random.start("measure", self.iteration, 0)
        plain = replace(self.options, compile=False)  # a few pictures a tick are not worth graphs of their own
        return gradient_norms(replace(self.passes, options=plain), self.rule, count)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly: tensors, numbers and nothing else. Every process must call it."""
        total = self.processes.sum
        return {
            "generator": self.nets.generator.state_dict(),
            "discriminator": self.nets.discriminator.state_dict(),
            "generator_ema": self.nets.generator_ema.state_dict(),
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "augment": self.augment.state_dict(),
            "ada": {name: total(value) for name, value in self.ada.state_dict().items()},
            "pl_mean": self.pl_mean,
            "statistics": self.statistics.state_dict(total),
            "images_seen": self.images_seen,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state made by `state_dict`, on any device and with any number of processes."""
        for name in ("generator", "discriminator", "generator_ema"):
            getattr(self.nets, name).load_state_dict(state[name])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.augment.load_state_dict(state["augment"])
        self.pl_mean = state["pl_mean"].to(self.device)
        self.images_seen, self.iteration = state["images_seen"], state["iteration"]
        share = int(self.processes.first)  # sums over all processes have a place in one of them only
        self.ada.load_state_dict({name: value * share for name, value in state["ada"].items()})
        self.statistics.load_state_dict(state.get("statistics", {"sums": {}, "counts": {}}), share=share)
