"""Train the small network that `refacer sdedit --model` takes: it takes noise off photographs of faces.

  python -m tools.studio.train_diffusion runs/denoiser --data data/photo.zip --held-out data/pairs.zip --licence CC0-1.0

It sees only the noise levels that SDEdit visits, the lower half. The same command again goes on from its checkpoint. A
set of a thousand photographs is soon known by heart, so every tick measures the loss on photographs of people whom the
network never sees (the folder `photo` in the zip --held-out); the averaged weights with the least are what is written.
"""

from __future__ import annotations

import argparse
import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refacer.files import write_atomic
from refacer.images.pixels import scale_to_unit, tensor_from_rgb
from refacer.images.resampling import resized
from refacer.networks.diffusion import Denoiser, DiffusionConfig
from refacer.training.checkpoint import load_latest, save_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Tick, train
from refacer.training.processes import Processes
from refacer.training.statistics import Statistics
from refacer.weights.denoisers import encode_denoiser
from refacer.weights.registry import UNSTATED
from tools.studio.parser_data import read_portraits
from tools.studio.run_log import log_tick

EMA_BETA = 0.999
WARMUP_STEPS = 200
MEASURED_SEED, MEASURED_BATCH = 1, 16
FREE = "CC0-1.0"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class DenoiserOptions:
    """How the network is trained; kimg is its schedule's length, too."""

    kimg: float = 100.0
    tick_kimg: float = 4.0
    batch: int = 16
    lr: float = 4e-4
    precision: str = "float32"  # of the convolutions, or bfloat16
    seed: int = 0


class DenoiserTrainer:
    """The network, its average, and one iteration: the mean square of what is wrong about the noise."""

    def __init__(self, config: DiffusionConfig, data: FaceDataset, held_out: Tensor, options: DenoiserOptions):
        torch.manual_seed(options.seed)
        self.options, self.data, self.held_out, self.processes = options, data, held_out, Processes()
        self.network = Denoiser(config).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.best, self.best_loss = copy.deepcopy(self.average), math.inf
        self.optimizer = torch.optim.Adam(self.network.parameters(), options.lr, fused=True)
        self.signal = config.signal().float()
        self.statistics = Statistics(CPU)
        self.images_seen, self.iteration = 0, 0

    def step(self) -> None:
        """One update; its random numbers depend on the seed and the iteration alone."""
        o = self.options
        random = torch.Generator().manual_seed(o.seed * 1_000_003 + self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = o.lr * self._pace()
        loss = self._loss(self.network, scale_to_unit(self.data.batch(self.images_seen, o.batch)), random)
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.statistics.add("loss", loss)
        self.images_seen += o.batch
        self.iteration += 1
        share = max(1 - EMA_BETA, 10 / (10 + self.iteration))
        with torch.no_grad():
            for kept, given in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(given, share)

    def _pace(self) -> float:
        """The share of the rate: it rises at first and falls to 0 by a cosine."""
        done = self.images_seen / (self.options.kimg * 1000)
        return min(1.0, (self.iteration + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * done)) / 2

    def _loss(self, network: Denoiser, faces: Tensor, random: torch.Generator) -> Tensor:
        """A value a face (N,)."""
        count = len(faces)
        levels = torch.randint(1, network.config.trained_levels + 1, (count,), generator=random)
        noise = torch.randn(faces.shape, generator=random)
        share = self.signal[levels - 1][:, None, None, None]
        noisy = (share.sqrt() * faces + (1 - share).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            found = network(noisy, levels)
        return (found.float() - noise).square().mean([1, 2, 3])

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """The average's loss on unseen people, always with the same noise; what is best so far is kept."""
        random = torch.Generator().manual_seed(MEASURED_SEED)
        parts = self.held_out.split(MEASURED_BATCH)
        found = float(torch.cat([self._loss(self.average, part, random) for part in parts * 4]).mean())
        if found < self.best_loss:
            self.best, self.best_loss = copy.deepcopy(self.average), found
        return {"held_out": found}

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on exactly."""
        networks = {name: getattr(self, name).state_dict() for name in ("network", "average", "best", "optimizer")}
        numbers = {name: getattr(self, name) for name in ("images_seen", "iteration", "best_loss")}
        return {**networks, **numbers, "statistics": self.statistics.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a state."""
        for name in ("network", "average", "best", "optimizer", "statistics"):
            getattr(self, name).load_state_dict(state[name])
        self.images_seen, self.iteration, self.best_loss = (
            state["images_seen"],
            state["iteration"],
            state["best_loss"],
        )


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    config = DiffusionConfig(resolution=args.resolution, widths=tuple(args.widths))
    data = FaceDataset(args.data, config.resolution, seed=args.seed, expected_px=256)
    held_out = [
        resized(tensor_from_rgb(face), config.resolution) for face in read_portraits(args.held_out, "photo").values()
    ]
    options = DenoiserOptions(args.kimg, args.tick, args.batch, args.lr, args.precision, args.seed)
    run(args.out, DenoiserTrainer(config, data, torch.cat(held_out), options), args.licence)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the run; in the end it is what --model takes")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="zips or folders of photographs")
    parser.add_argument("--held-out", type=Path, required=True, help="zip with a folder `photo` of other people")
    parser.add_argument("--resolution", type=int, default=DiffusionConfig.resolution)
    parser.add_argument("--widths", type=int, nargs="+", default=DiffusionConfig.widths)
    parser.add_argument("--kimg", type=float, default=DenoiserOptions.kimg)
    parser.add_argument("--tick", type=float, default=DenoiserOptions.tick_kimg, help="kimg between checkpoints")
    parser.add_argument("--batch", type=int, default=DenoiserOptions.batch)
    parser.add_argument("--lr", type=float, default=DenoiserOptions.lr)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default=DenoiserOptions.precision)
    parser.add_argument("--licence", default=UNSTATED, help="terms of the network, which its folder states")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run(folder: Path, trainer: DenoiserTrainer, licence: str) -> None:
    """Train to the end, logging and saving every tick; then write the best average."""
    folder.mkdir(parents=True, exist_ok=True)
    state, _ = load_latest(folder)
    if state is not None:
        trainer.load_state_dict(state)
    for event in train(trainer):
        if isinstance(event, Tick):
            pace = {"images_seen": event.images_seen, "seconds_per_kimg": event.seconds_per_kimg}
            log_tick(folder, {**pace, **event.means, **event.measured})
            save_checkpoint(folder, trainer.state_dict())
            facts = {
                "licence": licence,
                "commercial": "yes" if licence == FREE else "unclear",
                "kimg": event.images_seen / 1000,
                "held_out_loss": trainer.best_loss,
            }
            for name, content in encode_denoiser(trainer.best, facts).items():
                write_atomic(folder / name, content)


if __name__ == "__main__":
    main()
