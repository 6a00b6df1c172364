"""Train a discriminator of photographs for a realistic generator that stays as it is.

Fine-tuning starts from the discriminator that goes with the realistic generator (Sec. 4.1). Where that one is lost or
was trained on renders, this makes another: reals are photographs, fakes are random codes of the generator.

  torchrun --nproc-per-node 2 -m tools.studio.train_discriminator runs/judged --data data/photo.zip --base studio

The same command again goes on from its checkpoint. It ends in a base (base.json) for `refacer finetune --base`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from refacer.files import write_atomic
from refacer.options import FinetuneOptions
from refacer.training.checkpoint import load_latest, save_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Tick
from refacer.training.finetune import train as training_loop
from refacer.training.generate import training_networks
from refacer.training.processes import Processes, joined
from refacer.training.trainer import Trainer
from refacer.weights.bases import Base, encode_base, fresh_discriminator, load_base
from tools.studio.run_log import log_tick

CPU = torch.device("cpu")


class DiscriminatorTrainer(Trainer):
    """The discriminator's half of an iteration, and nothing else."""

    def step(self) -> None:
        """One update over one batch; R1 now and then."""
        self._prefetch()
        self._update("discriminator", self._discriminator_loss)
        if self.iteration % self.options.r1_interval == 0:
            self._update("r1", self._r1_loss)
        self.images_seen += self.options.batch
        self.iteration += 1


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--data", type=Path, nargs="+", required=True, help="zips or folders of photographs")
    ap.add_argument("--base", required=True, help="pair or base with the realistic generator")
    ap.add_argument("--kimg", type=float, default=6)
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--gamma", type=float, default=1.6)
    ap.add_argument("--threads", type=int, default=1, help="of each process")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    options = FinetuneOptions(
        batch=args.batch, kimg=args.kimg, gamma=args.gamma, aug="none", jitter=0.03, tick_kimg=0.2
    )
    with joined(CPU) as processes:
        base = load_base(args.base)
        data = FaceDataset(args.data, base.generator.config.img_resolution)
        train(args.out, base, trainer_of(base, data, options, processes))


def trainer_of(
    base: Base, data: FaceDataset, options: FinetuneOptions, processes: Processes | None = None
) -> DiscriminatorTrainer:
    """A trainer that starts from the base's discriminator, from a random one where it has none."""
    discriminator = base.discriminator or fresh_discriminator(base.generator)
    return DiscriminatorTrainer(training_networks(base.generator, discriminator, CPU), data, options, CPU, processes)


def train(folder: Path, base: Base, trainer: DiscriminatorTrainer) -> None:
    """Run to the end, logging and saving every tick; then write the base."""
    state, _ = load_latest(folder)
    if state is not None:
        trainer.load_state_dict(state)
    folder.mkdir(parents=True, exist_ok=True)
    for event in training_loop(trainer):
        state = trainer.state_dict()
        if not trainer.processes.first:
            continue
        if isinstance(event, Tick):
            pace = {"images_seen": event.images_seen, "seconds_per_kimg": event.seconds_per_kimg}
            log_tick(folder, {**pace, **event.means})
        save_checkpoint(folder, state)
    if trainer.processes.first:
        facts = {"licence": base.licence, "commercial": base.commercial, "kimg": trainer.images_seen / 1000}
        for name, content in encode_base(base.generator, trainer.nets.discriminator, facts).items():
            write_atomic(folder / name, content)


if __name__ == "__main__":
    main()
