"""What `refacer train-encoder` trains: a network that gives a face its W+ code at once, for a pair to carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from refacer.device import choose_device
from refacer.errors import UsageError
from refacer.finetuning.folder import RunFolder, spelled
from refacer.finetuning.identity import RunIdentity
from refacer.finetuning.record import TERMS_OF_PICTURES, Observation, weighted
from refacer.images.resampling import resized
from refacer.networks.encoders import EncoderConfig, FaceEncoder, compact_config
from refacer.networks.hyperstyle import HyperConfig, HyperStyle, hyper_config_for
from refacer.networks.stylegan2.networks import Generator
from refacer.options import EncoderOptions
from refacer.training.dataset import FaceDataset
from refacer.training.encode import EncoderTrainer
from refacer.training.finetune import Tick
from refacer.training.hyper import HyperTrainer
from refacer.training.processes import Processes, device_name
from refacer.training.reconstruct import Judges
from refacer.weights import cache, published, terms
from refacer.weights.choices import choose
from refacer.weights.pairs import NETWORKS, encode_beside, load_pair

ENCODER, HYPERSTYLE = "encoder", "hyperstyle"
Trainer = EncoderTrainer | HyperTrainer
CURRICULAR_FACE = "curricularface"
PASSES = 5  # of a full encoder that looks more than once

SPELLED = {
    "kind": "--kind",
    "size": "--size",
    "trunk": "--trunk",
    "looks": "--looks",
    "passes": "--looks",
    "tick_kimg": "--tick",
    "schedule_kimg": "--kimg",
    "generator_sha256": "the pair's generator",
    "faces_sha256": "the faces",
    "faces_count": "the number of faces",
    "pictures": "FACES",
}
OPTIONS = frozenset({
    "kimg", "batch", "lr", "optimizer", "into", "samples", "jitter", "l2_weight", "perceptual_weight",
    "identity_weight", "code_weight", "prior_weight", "delta_weight", "adversarial_weight", "d_lr", "seed", "precision",
    "deterministic", "rate_falls", "w_share",
})  # fmt: skip
"""Values of the configuration that are options of the command under their own names."""


class EncoderRecipe:
    """The recipe of `refacer train-encoder` (see `Recipe`)."""

    command = "refacer train-encoder"
    sample_order = "each face and, right of it, the picture of its code"

    def __init__(self, faces: Sequence[Path], pair: str | None, options: EncoderOptions, device: str = "auto") -> None:
        """faces: folders and zips of aligned faces in the look of the generator; none: its own pictures alone.

        pair: a name or folder, None for the default one. Raises UsageError, InputRefused, WeightsMissing.
        """
        if not options.kimg > 0:
            raise UsageError(f"--kimg {options.kimg:g}: a network that has seen nothing knows no face")
        self.faces, self.options = faces, options
        self.device = choose_device(device_name(device))
        self.pair = load_pair(pair)
        self.pair.path(options.into)  # met here where it is missing, and not after the pictures were read
        self.perceptual = choose("perceptual", "auto", self.pair)
        self.network = self._config()
        self.identity = RunIdentity(self.pair.resolution, self.device, paired=True)
        self.measured_by_network = cache.installed(CURRICULAR_FACE) is not None

    @cached_property
    def _generator(self) -> Generator:
        return self.pair.generator(self.options.into, self.device)

    def _config(self) -> EncoderConfig | HyperConfig:
        """The network's sizes for the pair's codes."""
        o, pair = self.options, self.pair
        if o.kind == HYPERSTYLE:
            hyper = hyper_config_for(self._generator.config, o.into, full=o.size == "full", trunk=o.trunk)
            return replace(hyper, passes=o.looks or hyper.passes)
        config = compact_config(o.kind, pair.num_ws, pair.w_dim, pair.resolution, o.trunk)
        if o.size == "full":
            looks = 1 if config.passes == 1 else PASSES
            config = EncoderConfig(o.kind, pair.num_ws, pair.w_dim, trunk=o.trunk, passes=looks)
        return replace(config, into=o.into, passes=o.looks or config.passes)

    def configuration(self) -> dict[str, Any]:
        """What a resumed run must share with this one, but for the pictures.

        The length too: rate and deltas follow it.
        """
        return {
            "options": asdict(self.options),
            "network": self.network.to_dict(),
            "schedule_kimg": self.options.kimg,
            "pictures": "given" if self.faces else "the generator's own",
            "generator_sha256": self.pair.sha256(self.options.into),
            "perceptual": self.perceptual.description,
        }

    def spelled(self, name: str) -> str:
        """The option that sets a value of the configuration; its own name where there is none."""
        return spelled(name, SPELLED, OPTIONS)

    def load_data(self) -> dict[str, FaceDataset]:
        """The aligned faces, at the size at which pictures are compared."""
        if not self.faces:
            return {}
        size = min(self.options.compare_px, self.pair.resolution)
        given = FaceDataset(self.faces, size, seed=self.options.seed, expected_px=self.pair.resolution)
        return {"faces": given}

    def make_trainer(self, data: Mapping[str, FaceDataset], folder: RunFolder, processes: Processes) -> Trainer:
        """A trainer over a fresh network; the generator stays as it is."""
        if processes.first:
            self._tell(folder)
        network = fresh_network(self.network)
        generator = self._generator
        network.latent_avg.copy_(generator.mapping.w_avg.cpu().expand_as(network.latent_avg))
        processes.agree(network)
        identity = _embeds(self.device) if self.measured_by_network else None
        judges = Judges(self.perceptual.load(self.device), self.pair.w_std, identity)
        others = (generator, data.get("faces"), judges, self.options, self.device, processes)
        return HyperTrainer(network, *others) if isinstance(network, HyperStyle) else EncoderTrainer(network, *others)

    def _tell(self, folder: RunFolder) -> None:
        if not self.measured_by_network and self.options.identity_weight:
            folder.note(f"no identity loss: {CURRICULAR_FACE} is not installed")
        if self.identity.reason:
            folder.note(f"identity between face and picture is not measured: {self.identity.reason}")

    def observe(self, trainer: Trainer, tick: Tick) -> Observation:
        """Losses as they enter the sum, identity; the same faces each time, and the pictures of their codes."""
        weights = {f"loss/{name}": weight for name, weight in trainer.weights.items()} | {"loss/discriminator": 1.0}
        faces = self._samples(trainer)
        pictures = resized(trainer.reconstructed(faces), faces.shape[-1]).clamp(-1, 1)
        identity = self.identity.measured(pictures, faces)
        return Observation({"weighted": weighted(tick, weights), "identity": identity}, [faces, pictures])

    def _samples(self, trainer: Trainer) -> torch.Tensor:
        """Faces to show: those given, else the generator's own."""
        count = self.options.sample_count
        if trainer.faces is not None:
            return trainer.given(trainer.faces, 0, count)
        trainer.random.start("measure", 0, 0)
        return trainer.drawn_alone(count)

    def licences(self) -> dict[str, str]:
        """The terms of the generator, of what judges and compares, and what is known of the pictures."""
        uses = [terms.of_pair(self.options.into, self.pair), *terms.of_trunk(self.network), *self.perceptual.uses]
        if self.measured_by_network:
            uses.append(terms.of_weight("identity loss", CURRICULAR_FACE))
        known = terms.in_words(uses + self.identity.uses)
        return known | (TERMS_OF_PICTURES if self.faces else {})

    def encode_result(self, name: str, trainer: Trainer) -> dict[str, bytes]:
        """The files of the pair as it is, with the encoder."""
        facts = {key: value for key, value in self.pair.facts.items() if key not in ("format", "networks")}
        network = trainer.network.eval().cpu().to(memory_format=torch.contiguous_format)
        role = HYPERSTYLE if self.options.kind == HYPERSTYLE else ENCODER
        return encode_beside(self.pair, {role: network}, {**facts, "name": name}, [*NETWORKS])


def fresh_network(config: EncoderConfig | HyperConfig) -> FaceEncoder | HyperStyle:
    """An untrained network, whose answer is the average code and the weights as they are."""
    network = FaceEncoder(config) if isinstance(config, EncoderConfig) else HyperStyle(config)
    network.silence()
    return published.with_trunk(network)


def _embeds(device: torch.device) -> Any:
    """The published identity loss's crop of an aligned face, and CurricularFace in place of IR-SE50."""
    network = published.load_curricular_face(device)

    def embed(faces: torch.Tensor) -> torch.Tensor:
        side = faces.shape[-1] / 256
        rows, columns = (slice(round(low * side), round(high * side)) for low, high in ((35, 223), (32, 220)))
        return network(nn.functional.adaptive_avg_pool2d(faces[..., rows, columns], 112))

    return embed
