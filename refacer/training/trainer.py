"""One iteration of StyleGAN2-ADA training with the paper's two losses: Gmain, Greg, Dmain, Dreg, EMA, ADA.

The trainer holds everything that changes; `state_dict` is enough to go on exactly.

A batch is computed in equal parts, in rounds and by any number of processes: part k is the pictures from k times its
size on, it draws what Draws seeds for it, and process r of W takes the parts r, r + W, ... Only sums over all parts
reach what is trained or remembered, so that the same parts give the same run, up to the order of the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from refacer.images.pixels import scale_to_unit
from refacer.networks.stylegan2.mapping import W_AVG_BETA
from refacer.options import FinetuneOptions
from refacer.training import losses
from refacer.training.augment import AdaController, Augment
from refacer.training.dataset import FaceDataset
from refacer.training.generate import Drawing, precision_of
from refacer.training.jitter import jitter
from refacer.training.looks import gradient_norms
from refacer.training.optimizers import clean_gradients, lazy_adam, lerp_towards
from refacer.training.processes import Processes, parts_of
from refacer.training.random import Draws
from refacer.training.statistics import Statistics
from refacer.training.trained import TrainedNetworks, trainable_parameters


class Trainer:
    """Everything that changes during training, on one device, perhaps as one process of several."""

    def __init__(
        self,
        nets: TrainedNetworks,
        data: FaceDataset,
        options: FinetuneOptions,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        self.nets, self.data, self.options, self.device = nets, data, options, device
        self.processes = processes or Processes()
        self.parts = parts_of(options, self.processes.world)
        self.processes.agree(nets.generator, nets.discriminator, nets.generator_ema)
        self.d_parameters = list(nets.discriminator.parameters())
        self.trainable = trainable_parameters(nets.generator, freeze=options.freeze)
        self.g_optimizer = lazy_adam(self.trainable, options, options.pl_interval if options.pl_weight else None)
        self.d_optimizer = lazy_adam(self.d_parameters, options, options.r1_interval)
        self.augment = Augment(options.aug_p).to(device)
        self.ada = AdaController(
            self.augment, target=options.ada_target, interval=options.ada_interval, ada_kimg=options.ada_kimg
        )
        self.pl_mean = torch.zeros([], device=device)
        self.batch_sum = torch.zeros([], device=device)  # over parts, of what a phase remembers
        self.images_seen, self.iteration = 0, 0
        self.draws = Draws(options.seed, device)
        self.drawing = Drawing(nets, self.augment, self.draws, options, device, precision_of(options, device))
        self.statistics = Statistics(device)

    def step(self) -> None:
        """One iteration over one batch; nothing here waits for the device."""
        o = self.options
        self._prepare_pictures()
        self._update("generator", self._generator_main)
        if o.pl_weight and self.iteration % o.pl_interval == 0:
            self._update("path_length", self._path_length)
            self.pl_mean = self.pl_mean.lerp(self._batch_mean(), o.pl_decay)
        self._update("discriminator", self._discriminator_main)
        if not o.freeze:
            self.nets.generator.mapping.w_avg.lerp_(self._batch_mean(), 1 - W_AVG_BETA)
        if self.iteration % o.r1_interval == 0:
            self._update("r1", self._r1)
        self.images_seen += o.batch
        self.iteration += 1
        lerp_towards(self.nets.generator_ema, self.nets.generator, 0.5 ** (o.batch / max(o.ema_kimg * 1000, 1e-8)))
        if o.aug == "ada" and self.iteration % o.ada_interval == 0:
            self.ada.sums = self.processes.sum(self.ada.sums)
            self.ada.update(o.batch)

    def _prepare_pictures(self) -> None:
        """Decode the next iteration's pictures while this one's are seen."""
        size, total = self.options.batch // self.parts, round(self.options.kimg * 1000)
        starts = (
            first + part * size
            for first in (self.images_seen, self.images_seen + self.options.batch)
            for part in range(self.processes.rank, self.parts, self.processes.world)
            if first < total or first == self.images_seen
        )
        self.data.prepare(position for start in starts for position in range(start, start + size))

    # ------------------------------------------------------------ phases

    def _update(self, phase: str, loss: Callable[[int, int], Tensor]) -> None:
        """Accumulate the gradient over this process's parts of the batch, sum it over all, clean it, step."""
        optimizer, parameters = self._trained_in(phase)
        self.batch_sum = torch.zeros([], device=self.device)
        size = self.options.batch // self.parts
        for parameter in parameters:
            parameter.requires_grad_(True)
        for part in range(self.processes.rank, self.parts, self.processes.world):
            self.draws.begin(phase, self.iteration, part)
            (loss(part * size, size).mean() / self.parts).backward()
        for parameter in parameters:
            parameter.requires_grad_(False)
        self.processes.sum_gradients(parameters)
        clean_gradients(parameters)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _trained_in(self, phase: str) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
        if phase in ("generator", "path_length"):
            return self.g_optimizer, self.trainable
        return self.d_optimizer, self.d_parameters

    def _batch_mean(self) -> Tensor:
        """The mean over all parts, of all processes, of what the phase added to `batch_sum`."""
        return self.processes.sum(self.batch_sum) / self.parts

    def _generator_main(self, _start: int, count: int) -> Tensor:
        """L_G of Eq. 3."""
        ws = self.drawing.styles(count)
        logits = self.drawing.judged(self.drawing.pictures(ws))
        adversarial = losses.generator_loss(logits)
        self.statistics.add("loss/generator", adversarial)
        self.statistics.add("signs/fake", logits.sign())
        return adversarial + self._identity_losses(ws)

    def _identity_losses(self, ws: Tensor) -> Tensor | float:
        """lambda_s L_sketch + lambda_c L_color: both generators on the same codes and the same constant noise."""
        o, nets = self.options, self.nets
        if nets.real is None or not (o.sketch_weight or o.color_weight):
            return 0.0
        total: Tensor | float = 0.0
        real, rendering = self.drawing.portraits(ws)
        if o.sketch_weight and nets.sketch is not None:
            sketch = losses.sketch_loss(real, rendering, nets.sketch, o, self.drawing.dtype)
            self.statistics.add("loss/sketch", sketch)
            total = total + sketch * o.sketch_weight
        if o.color_weight and nets.perceptual is not None:
            color = losses.color_loss(real, rendering, nets.perceptual, o, self.drawing.dtype)
            self.statistics.add("loss/color", color)
            total = total + color * o.color_weight
        return total

    def _path_length(self, _start: int, count: int) -> Tensor:
        """Path-length regularisation on a part of the batch, in float32 (Karras et al. 2020, Eq. 4)."""
        o = self.options
        ws = self.drawing.styles(max(1, count // o.pl_batch_shrink))
        ws = ws if ws.requires_grad else ws.detach().requires_grad_(True)
        images = self.nets.generator.synthesis(ws, noise_mode="random", generator=self.draws.device)
        lengths = losses.path_lengths(images, ws, self.drawing.normal(images.shape))
        mean = lengths.detach().mean()
        self.batch_sum = self.batch_sum + mean
        penalty = (lengths - self.pl_mean.lerp(mean, o.pl_decay)).square()
        self.statistics.add("loss/path_length", penalty)
        return penalty * (o.pl_weight * o.pl_interval)

    def _discriminator_main(self, start: int, count: int) -> Tensor:
        """Logistic loss on fakes and reals, both augmented."""
        with torch.no_grad():
            ws = self.drawing.styles(count)
            fake = self.drawing.pictures(ws)
        if not self.options.freeze:  # w_avg will follow the mean
            self.batch_sum = self.batch_sum + ws[:, 0].mean(0)
        fake_logits, real_logits = self.drawing.judged(fake), self.drawing.judged(self._reals(start, count))
        if self.options.aug == "ada":
            self.ada.accumulate(real_logits.detach())
        loss = losses.discriminator_loss(real_logits, fake_logits)
        self.statistics.add("loss/discriminator", loss)
        self.statistics.add("signs/real", real_logits.sign())
        return loss

    def _r1(self, start: int, count: int) -> Tensor:
        """R1 on the real pictures before augmentation, in float32."""
        o = self.options
        images = self._reals(start, count).requires_grad_(True)
        logits = self.nets.discriminator(self.drawing.augmented(images))
        penalty = losses.r1_penalty(logits, images)
        self.statistics.add("loss/r1", penalty)
        return penalty * (o.gamma / 2 * o.r1_interval)

    def _reals(self, start: int, count: int) -> Tensor:
        """Real pictures of this iteration, (count, 3, R, R) in [-1, 1]."""
        images = scale_to_unit(self.data.batch(self.images_seen + start, count).to(self.device))
        return jitter(images, self.options.jitter, self.draws.cpu) if self.options.jitter else images

    # ------------------------------------------------------------ what a log and a checkpoint need

    def gradient_norms(self, count: int = 8) -> dict[str, float]:
        """How hard each loss pulls at a picture (see `looks`)."""
        self.draws.begin("look", self.iteration, 0)
        plain = replace(self.options, compile=False)  # a few pictures a tick are not worth graphs of their own
        return gradient_norms(replace(self.drawing, options=plain), count)

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
