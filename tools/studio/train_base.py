"""Train the studio pair's realistic generator from photographs, on a GPU or, if need be, a CPU.

Plain adversarial training needs hundreds of thousands of images. Here an encoder helps (encoder.py). First it and the
generator learn to reconstruct; then half of every batch are reconstructions of real pictures and half are random z, and
both meet the discriminator. The networks and what is saved are StyleGAN2's, without the encoder.

  torchrun --nproc-per-node 2 -m tools.studio.train_base runs/a --data data --resolution 128 --kimg 20 --reconstruct 20
  torchrun --nproc-per-node 2 -m tools.studio.train_base runs/b --data data --resolution 128 --kimg 20 --init runs/a
  torchrun --nproc-per-node 2 -m tools.studio.train_base runs/c --data data --kimg 20 --base studio --encode 6

The last goes on from a pair, which has no encoder: a new one learns alone at first. The same command again goes on from
its checkpoint. Each ends in a base (base.json) for `refacer finetune --base`. Two processes of one thread each are much
faster on two cores than one process of two threads; `python -m` takes one.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refacer.files import encode_png, write_atomic
from refacer.images.pixels import rgb_from_tensor, scale_to_unit
from refacer.networks.stylegan2.networks import Generator
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.training import losses
from refacer.training.augment import jitter
from refacer.training.checkpoint import load_latest, save_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.generate import precision_of
from refacer.training.optimizers import clean_gradients, lazy_adam, lerp_towards
from refacer.training.processes import Processes, joined
from refacer.training.statistics import Statistics
from refacer.weights.bases import (
    Base,
    carry_over,
    encode_base,
    fresh_networks,
    grow_discriminator,
    grow_generator,
    load_base,
)
from tools.studio.encoder import Code, Encoder, Likeness
from tools.studio.run_log import log_tick

L1_WEIGHT, PERCEPTUAL_WEIGHT = 4.0, 2.0
DIVERGENCE_WEIGHT = 1e-3  # per nat: how dear it is to tell pictures apart by z
OFFSET_WEIGHT = 0.02
OFFSET_SHARE = 0.8  # of the reconstructions are drawn from W+, the others from z alone
RAMP_KIMG = 1.0  # over which the adversarial loss comes in
RECONSTRUCT_ADAM = {"lr": 3e-3, "betas": (0.9, 0.99)}  # momentum helps a reconstruction as much as it harms a game
EMA_KIMG = 1.0
EMA_RAMPUP = 0.05  # the half-life is at most this share of the images seen
JITTER = 0.03
CPU = torch.device("cpu")


class BaseTrainer:
    """Encoder, generator and discriminator, and one iteration over them."""

    def __init__(
        self,
        data: FaceDataset,
        sizes: NetworkOptions,
        options: FinetuneOptions,
        reconstruct_kimg: float,
        processes: Processes | None = None,
        encode_kimg: float = 0,
        adversarial_weight: float = 1,
        device: torch.device = CPU,
    ) -> None:
        torch.manual_seed(options.seed)
        self.data, self.options, self.device = data, options, device
        generator, discriminator = fresh_networks(sizes)
        self.generator, self.discriminator = generator.to(device), discriminator.to(device)
        self.encoder = Encoder(sizes.z_dim, self.generator.num_ws, sizes.w_dim).to(device)
        self.likeness = Likeness(device)
        self.ema: Generator = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.g_parameters = [*self.generator.parameters(), *self.encoder.parameters()]
        self.d_parameters = list(self.discriminator.parameters())
        _require_grad([*self.g_parameters, *self.d_parameters], False)  # but where they are in training
        self.g_optimizer = lazy_adam(self.g_parameters, self.options, None)
        self.d_optimizer = lazy_adam(self.d_parameters, self.options, self.options.r1_interval)
        self.reconstruct_optimizer = torch.optim.Adam(self.g_parameters, fused=True, **RECONSTRUCT_ADAM)
        self.images_seen, self.iteration, self.reconstruct = 0, 0, reconstruct_kimg * 1000
        self.encode, self.adversarial_weight = encode_kimg * 1000, adversarial_weight
        self.dtype = precision_of(options, device)
        self.processes = processes or Processes()
        self.share, self.rank = options.batch // self.processes.world, self.processes.rank
        self.draw = torch.Generator(device).manual_seed(options.seed + self.rank)
        self.host = torch.Generator() if device.type != "cpu" else self.draw  # for single numbers
        self.statistics = Statistics(device)

    def step(self) -> None:
        """One generator and one discriminator update on the same fakes; R1 now and then."""
        o = self.options
        images = self._pictures(self.images_seen + self.rank * self.share, self.share)
        images = jitter(images, JITTER, self.host)
        if self.images_seen < self.encode:
            self._update_reconstruction(images, list(self.encoder.parameters()))
        elif self.images_seen < self.reconstruct:
            self._update_reconstruction(images, self.g_parameters)
        else:
            self._update_discriminator(images, self._update_generator(images))
            if self.iteration % o.r1_interval == 0:
                self._update_r1(images[: self.share // 2])
        self.images_seen += o.batch
        self.iteration += 1
        half_life = min(EMA_KIMG * 1000, self.images_seen * EMA_RAMPUP)
        lerp_towards(self.ema, self.generator, 0.5 ** (o.batch / half_life))

    def _update_reconstruction(self, images: Tensor, parameters: list[nn.Parameter]) -> None:
        """Reconstruction alone, on the whole batch, by the encoder or by encoder and generator."""
        _require_grad(parameters, True)
        code = self.encoder(images)
        drawn = self._drawn(self._codes(code))
        self._reconstruction(images, drawn, code).backward()
        self._step(self.reconstruct_optimizer, parameters)

    def _pictures(self, position: int, count: int) -> Tensor:
        """Photographs (count, 3, R, R) in [-1, 1], on the device."""
        return scale_to_unit(self.data.batch(position, count).to(self.device))

    def _random(self, count: int, width: int) -> Tensor:
        """Normal numbers (count, width)."""
        return torch.randn(count, width, generator=self.draw, device=self.device)

    def _drawn(self, ws: Tensor) -> Tensor:
        return self.generator.synthesis(ws, noise_mode="random", generator=self.draw, dtype=self.dtype)

    def _judged(self, images: Tensor) -> Tensor:
        return self.discriminator(images, dtype=self.dtype)

    def _update_generator(self, images: Tensor) -> Tensor:
        """Half of the batch reconstructed, half from random z; returns all pictures."""
        half = images[: len(images) // 2]
        _require_grad(self.g_parameters, True)
        code = self.encoder(half)
        ws = self._codes(code)
        ws = torch.cat([ws, self._random_codes(ws)])
        fakes = self._drawn(ws)
        adversarial = losses.generator_loss(self._judged(fakes)).mean()
        reconstruction = self._reconstruction(half, fakes[: len(half)], code)
        (reconstruction + self._adversarial_weight() * adversarial).backward()
        self._step(self.g_optimizer, self.g_parameters)
        self.statistics.add("loss/adversarial", adversarial)
        return fakes.detach()

    def _codes(self, code: Code) -> Tensor:
        """W+ of a sample from the encoder's posterior, with its offsets now and then."""
        z = code.mean + (0.5 * code.logvar).exp() * self._random(*code.mean.shape)
        ws = self.generator.mapping(z, update_w_avg=self.images_seen >= self.encode)
        use = torch.rand(len(ws), 1, 1, generator=self.draw, device=self.device) < OFFSET_SHARE
        return ws + use * code.offsets

    def _random_codes(self, encoded: Tensor) -> Tensor:
        """As many codes of random z, mixed with the encoded ones at a random layer now and then."""
        g = self.generator
        random = g.mapping(self._random(len(encoded), g.z_dim), update_w_avg=True)
        cutoff = int(torch.randint(1, 2 * g.num_ws, [], generator=self.host))
        return torch.cat([random[:, :cutoff], encoded[:, cutoff:].roll(1, 0)], dim=1)

    def _reconstruction(self, images: Tensor, drawn: Tensor, code: Code) -> Tensor:
        """Unlikeness, and what the code costs."""
        terms = {
            "l1": (L1_WEIGHT, self.likeness.l1(images, drawn)),
            "perceptual": (PERCEPTUAL_WEIGHT, self.likeness.perceptual(images, drawn, self.host)),
            "divergence": (DIVERGENCE_WEIGHT, code.divergence().mean()),
            "offsets": (OFFSET_WEIGHT, code.offsets.square().mean()),
        }
        for name, (_, value) in terms.items():
            self.statistics.add(f"loss/{name}", value)
        return torch.stack([weight * value for weight, value in terms.values()]).sum()

    def _adversarial_weight(self) -> float:
        since = self.images_seen - max(self.encode, self.reconstruct)
        return self.adversarial_weight * min(1.0, 0.1 + since / (RAMP_KIMG * 1000))

    def _update_discriminator(self, images: Tensor, fakes: Tensor) -> None:
        _require_grad(self.d_parameters, True)
        logits = self._judged(images)
        loss = losses.discriminator_loss(logits, self._judged(fakes)).mean()
        loss.backward()
        self._step(self.d_optimizer, self.d_parameters)
        self.statistics.add("loss/discriminator", loss)
        self.statistics.add("signs/real", logits.sign())

    def _update_r1(self, images: Tensor) -> None:
        """In float32, as its second derivatives need."""
        o = self.options
        _require_grad(self.d_parameters, True)
        images = images.detach().requires_grad_(True)
        penalty = losses.r1_penalty(self.discriminator(images), images).mean()
        (penalty * (o.gamma / 2 * o.r1_interval)).backward()
        self._step(self.d_optimizer, self.d_parameters)
        self.statistics.add("loss/r1", penalty)

    def _step(self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
        _require_grad(parameters, False)
        self.processes.sum_gradients(parameters)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= self.processes.world
        clean_gradients(parameters)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def modules(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "encoder": self.encoder,
            "ema": self.ema,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: module.state_dict() for name, module in self.modules().items()},
            "g_optimizer": self.g_optimizer.state_dict(),
            "d_optimizer": self.d_optimizer.state_dict(),
            "reconstruct_optimizer": self.reconstruct_optimizer.state_dict(),
            "images_seen": self.images_seen,
            "iteration": self.iteration,
            "reconstruct": self.reconstruct,
            "encode": self.encode,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        self.g_optimizer.load_state_dict(state["g_optimizer"])
        self.d_optimizer.load_state_dict(state["d_optimizer"])
        self.reconstruct_optimizer.load_state_dict(state["reconstruct_optimizer"])
        self.reconstruct_optimizer.param_groups[0].update(RECONSTRUCT_ADAM)
        for generator in (self.draw, self.host):
            generator.manual_seed(state["images_seen"] + self.rank)  # one state serves any number of processes
        self.images_seen, self.iteration, self.reconstruct, self.encode = (
            state[key] for key in ("images_seen", "iteration", "reconstruct", "encode")
        )

    def start_from(self, state: dict[str, Any]) -> None:
        """Take over a smaller run."""
        for generator in (self.generator, self.ema):
            grow_generator(state["ema"], generator)
        grow_discriminator(state["discriminator"], self.discriminator)
        carry_over(state["encoder"], self.encoder)

    def start_from_base(self, base: Base) -> None:
        """Take over the networks of a base of the same size; the encoder stays random."""
        for generator in (self.generator, self.ema):
            generator.load_state_dict(base.generator.state_dict())
        if base.discriminator is not None:
            self.discriminator.load_state_dict(base.discriminator.state_dict())

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Eight pictures, their reconstructions in W+ and in W, and sixteen random ones, as one picture (3, H, W)."""
        images = self._pictures(0, 8)
        code = self.encoder(images)
        random = torch.randn(16, self.ema.z_dim, generator=torch.Generator().manual_seed(1)).to(self.device)
        ws = self.ema.mapping(torch.cat([code.mean, random]))
        drawn = self.ema.synthesis(torch.cat([ws[:8] + code.offsets, ws]), noise_mode="const")
        rows = torch.cat([images, drawn]).split(8)
        return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)


def _require_grad(parameters: list[nn.Parameter], value: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(value)


def train(trainer: BaseTrainer, folder: Path, tick: int) -> None:
    """Run to the end, logging and saving every `tick` images."""
    began = time.perf_counter()
    while trainer.images_seen < trainer.options.kimg * 1000:
        start, due = trainer.images_seen, trainer.images_seen + tick
        while trainer.images_seen < due:
            trainer.step()
        if trainer.rank:
            continue
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        line = {"images_seen": trainer.images_seen, "images_per_s": (trainer.images_seen - start) / seconds}
        log_tick(folder, line | trainer.statistics.take())
        write_atomic(
            folder / f"samples/{trainer.images_seen:07d}.png", encode_png(rgb_from_tensor(trainer.samples()), None)
        )
        save_checkpoint(folder, trainer.state_dict())


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--data", type=Path, nargs="+", required=True, help="zips or folders of photographs")
    ap.add_argument("--resolution", type=int, default=64)
    ap.add_argument("--kimg", type=float, default=20)
    ap.add_argument("--reconstruct", type=float, default=0, help="kimg of reconstruction alone at the start")
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--init", type=Path, help="the run to start from, of the same resolution or of half")
    ap.add_argument("--base", help="pair or base of this resolution to start from, in place of a run")
    ap.add_argument("--encode", type=float, default=0, help="kimg at the start in which a new encoder learns alone")
    ap.add_argument("--adversarial", type=float, default=1, help="weight beside the reconstruction's")
    ap.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the convolutions")
    ap.add_argument("--tick", type=int, default=500, help="images between two checkpoints")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--threads", type=int, default=1, help="of each process")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    with joined(torch.device(args.device)) as processes:
        run(args, processes)


def run(a: argparse.Namespace, processes: Processes) -> None:
    """Start or go on, train, and export the base."""
    sizes = NetworkOptions(a.resolution, channel_base=4096, channel_max=256, z_dim=256, w_dim=256, mapping_layers=4)
    gamma = 0.0002 * a.resolution**2 / a.batch * 2
    options = FinetuneOptions(batch=a.batch, kimg=a.kimg, gamma=gamma, freeze=False, precision=a.precision)
    data = FaceDataset(a.data, a.resolution)
    device = torch.device(a.device)
    data.keep_on(device)
    trainer = BaseTrainer(data, sizes, options, a.reconstruct, processes, a.encode, a.adversarial, device)
    state, _ = load_latest(a.out, device)
    if state is not None:
        trainer.load_state_dict(state)
    elif a.base is not None:
        trainer.start_from_base(load_base(a.base))
    elif a.init is not None:
        grown, _ = load_latest(a.init, device)
        assert grown is not None, f"{a.init} has no checkpoint"
        trainer.start_from(grown)
    a.out.mkdir(parents=True, exist_ok=True)
    train(trainer, a.out, a.tick)
    if trainer.rank:
        return
    facts = {"licence": "CC0-1.0", "commercial": "yes", "kimg": trainer.images_seen / 1000}
    for name, data in encode_base(trainer.ema.cpu(), trainer.discriminator.cpu(), facts).items():
        write_atomic(a.out / name, data)


if __name__ == "__main__":
    main()
