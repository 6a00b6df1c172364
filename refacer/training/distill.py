"""Distil a pair into a translator: learn from the pair's own pictures what its look does to a face.

After Viazovetskyi et al. 2020 (arXiv:2003.03581): the generators draw aligned examples without end. They are not quite
real renders; so that the change holds for those as well, real renders are translated too, and a discriminator tells
the results from photographs, real ones or the pair's own. The trainer holds everything that changes; `state_dict` is
enough to go on exactly.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from refacer.device import dtype_of
from refacer.images.pixels import scale_to_unit
from refacer.images.resampling import resized
from refacer.networks.projected_discriminator import ProjectedDiscriminator, Taps, hinge_loss
from refacer.networks.stylegan2.networks import Generator
from refacer.networks.translator import Translator, mapped
from refacer.options import DistillOptions
from refacer.training.dataset import FaceDataset
from refacer.training.optimizers import clean_gradients, lerp_towards
from refacer.training.processes import Processes
from refacer.training.random import RandomStreams
from refacer.training.statistics import Statistics
from refacer.training.translations import Translations, disturbed, drawn, typical, views

DRAW_BATCH = 8
TAPS = (1, 2, 3)  # of EfficientNet-Lite0, those at 1/4, 1/8 and 1/16 of the picture's size


class Distiller:
    """Everything that changes while a translator learns, on one device.

    rendering, real: the pair's generators. renders, photos: aligned faces of both looks, of nobody in common; without
    photos the discriminator learns from what `real` draws. trunk: the discriminator's, on the device. Everything is
    seen at the translator's own size.

    Attributes:
        translator, average: the network in training, and its moving average, which is the result.
        images_seen, iteration, statistics: how far it is, and means since they were last taken.
    """

    def __init__(
        self,
        translator: Translator,
        rendering: Generator,
        real: Generator,
        renders: FaceDataset,
        photos: FaceDataset | None,
        trunk: Taps,
        options: DistillOptions,
        device: torch.device,
    ) -> None:
        self.translator = translator.to(device).train()
        self.average = copy.deepcopy(self.translator).eval().requires_grad_(False)
        self.rendering, self.real = rendering.to(device), real.to(device)
        self.renders, self.photos = renders, photos
        self.options, self.device = options, device
        self.dtype = dtype_of(options.precision)
        size = translator.config.input_px
        self.discriminator = ProjectedDiscriminator(trunk, TAPS, torch.zeros(1, 3, size, size, device=device))
        self.optimizer = torch.optim.Adam(self.translator.parameters(), lr=options.lr, betas=options.adam_betas)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=options.d_lr, betas=(0.0, 0.99))
        self.random = RandomStreams(options.seed, device)
        self.processes = Processes()  # alone
        self.statistics = Statistics(device)
        self.images_seen, self.iteration = 0, 0
        self._block: tuple[int, Translations] | None = None

    def step(self) -> None:
        """One iteration over one batch: the translator's, then the discriminator's."""
        o = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = o.lr * self._rate()
        self.random.start("generator", self.iteration, 0)
        loss = self._likeness()
        fakes = self._translated_renders() if self.adversarial else None
        if fakes is not None:
            loss = loss + self._realism(fakes)
        loss.backward()
        clean_gradients([*self.translator.parameters()])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if fakes is not None:
            self.random.start("discriminator", self.iteration, 0)
            self._judge(fakes.detach())
        self.images_seen += o.batch
        self.iteration += 1
        lerp_towards(self.average, self.translator, 0.5 ** (o.batch / max(o.ema_kimg * 1000, 1e-8)))

    @property
    def adversarial(self) -> bool:
        """Whether the discriminator has a part in this iteration."""
        return self.options.adversarial_weight > 0 and self.images_seen >= self.options.adversarial_kimg * 1000

    def _rate(self) -> float:
        """Share of the learning rate: up at the start, down by a cosine."""
        o = self.options
        rising = min(1.0, (self.images_seen + o.batch) / max(o.warmup_kimg * 1000, 1e-8))
        return rising * (0.5 + 0.5 * math.cos(math.pi * min(1.0, self.images_seen / (o.kimg * 1000))))

    # ------------------------------------------------------------ losses

    def _likeness(self) -> Tensor:
        """L1 between translated and drawn, of pixels and of coarse squares, on the pair's own disturbed pictures."""
        o = self.options
        renders = self._pictures(self.renders, o.batch)
        rendering, photo = disturbed(self._examples(), renders, o.disturb, self.random.device)
        translated = self._translated(rendering)
        side = max(1, round(o.coarse_frac * photo.shape[-1]))
        fine, coarse = (translated - photo).abs().mean(), (_means(translated, side) - _means(photo, side)).abs().mean()
        self.statistics.add("loss/likeness", fine)
        self.statistics.add("loss/coarse", coarse)
        self.statistics.add("change", (rendering - photo).abs().mean())
        return fine + o.coarse_weight * coarse

    def _translated_renders(self) -> Tensor:
        """Real renders, translated."""
        return self._translated(self._pictures(self.renders, self.options.adversarial_batch))

    def _realism(self, fakes: Tensor) -> Tensor:
        """The discriminator must take translated renders for photographs; no colour may leave [-1, 1]."""
        o = self.options
        ramp = (self.images_seen / 1000 - o.adversarial_kimg) / max(o.warmup_kimg, 1e-8) - 1  # it learns alone at first
        logits = self.discriminator.eval().requires_grad_(False)(views(fakes, self.random.device))
        loss, beyond = -torch.stack([head.mean() for head in logits]).mean(), (fakes.abs() - 1).relu().mean()
        self.statistics.add("loss/realism", loss)
        return loss * o.adversarial_weight * min(max(ramp, 0.0), 1.0) + beyond

    def _judge(self, fakes: Tensor) -> None:
        """The discriminator's own step."""
        random, count = self.random.device, len(fakes)
        both = torch.cat([views(self._photos(count), random), views(fakes, random)])
        logits = self.discriminator.train().requires_grad_(True)(both)
        real, fake = [head[:count] for head in logits], [head[count:] for head in logits]
        loss = hinge_loss(real, fake)
        self.statistics.add("loss/discriminator", loss)
        for head in real:
            self.statistics.add("signs/real", head.mean(1).sign())
        for head in fake:
            self.statistics.add("signs/fake", head.mean(1).sign())
        loss.backward()
        clean_gradients([*self.discriminator.parameters()])
        self.d_optimizer.step()
        self.d_optimizer.zero_grad(set_to_none=True)

    # ------------------------------------------------------------ pictures

    def _translated(self, faces: Tensor) -> Tensor:
        """Faces under the change that the network in training draws for them."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype != torch.float32):
            fields = self.translator(faces)
        return mapped(fields.float(), faces)

    def _examples(self) -> Translations:
        """This iteration's share of the block of drawn examples, which is drawn anew when it has been used up."""
        o = self.options
        number = self.images_seen // (o.block * o.uses)
        if self._block is None or self._block[0] != number:
            self._block = number, self._drawn(number)
        order = torch.randperm(o.block, generator=self.random.cpu)[: o.batch].to(self.device)
        return Translations(*(look[order] for look in self._block[1]))

    def _drawn(self, number: int) -> Translations:
        """A block of examples, the same for the same number."""
        random, size = RandomStreams(self.options.seed, self.device), self.translator.config.input_px
        pictures = []
        for part in range(math.ceil(self.options.block / DRAW_BATCH)):
            random.start("measure", number, part)
            batch = drawn(self.rendering, self.real, DRAW_BATCH, self.options.psi, random.device, self.dtype)
            pictures.append([resized(look, size) for look in batch])
        return Translations(*(torch.cat(look)[: self.options.block] for look in zip(*pictures, strict=True)))

    def _pictures(self, dataset: FaceDataset, count: int) -> Tensor:
        """The next real pictures of a set at the translator's size, in its own order."""
        stored = dataset.batch(self.images_seen, count).to(self.device)
        return resized(scale_to_unit(stored), self.translator.config.input_px)

    def _photos(self, count: int) -> Tensor:
        """Photographs; the pair's own where no others are given."""
        return self._pictures(self.photos, count) if self.photos else self._examples().photo[:count]

    # ------------------------------------------------------------ what is left of a run

    @torch.no_grad()
    def result(self) -> Translator:
        """The averaged translator, which from now on tells how far a face lies from renders like those it was shown.

        Measured on real renders, moved and lit as in training. The run itself is not changed.
        """
        finished, random = copy.deepcopy(self.average), RandomStreams(self.options.seed, self.device)
        faces, size = [], finished.config.input_px
        for position in range(0, self.options.range_faces, DRAW_BATCH):
            random.start("measure", position, 0)
            stored = self.renders.batch(position, DRAW_BATCH).to(self.device)
            faces.append(typical(resized(scale_to_unit(stored), size), self.options.disturb, random.device))
        finished.remember_range(torch.cat(faces))
        return finished

    # ------------------------------------------------------------ what a log and a checkpoint need

    def measure(self) -> dict[str, Any]:
        """Nothing beside the means."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly: tensors, numbers and nothing else."""
        return {
            "translator": self.translator.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "statistics": self.statistics.state_dict(),
            "images_seen": self.images_seen,
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state made by `state_dict`, on any device."""
        for name in ("translator", "average", "discriminator", "optimizer", "d_optimizer", "statistics"):
            getattr(self, name).load_state_dict(state[name])
        self.images_seen, self.iteration = state["images_seen"], state["iteration"]


def _means(pictures: Tensor, side_px: int) -> Tensor:
    return F.avg_pool2d(pictures, side_px)
