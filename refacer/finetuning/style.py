"""What `refacer finetune` trains: a rendering style over a pair's realistic generator, or a base from scratch."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from refacer.device import choose_device, require_compiler
from refacer.errors import UsageError
from refacer.finetuning.folder import RunFolder
from refacer.finetuning.identity import RunIdentity
from refacer.finetuning.pair_range import faces_of, measured_range
from refacer.finetuning.record import TERMS_OF_PICTURES, Observation, weighted
from refacer.finetuning.rules.rule import NO_FILES, Beginning, TextFiles, rule_of
from refacer.networks.stylegan2.networks import Generator
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import FinetuneOptions, NetworkOptions, ProjectOptions, WStatistics
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Tick
from refacer.training.generate import TrainingNetworks, sample_pairs, training_networks
from refacer.training.processes import Processes, device_name, parts_of
from refacer.training.trainer import Trainer
from refacer.weights.bases import Base, encode_base, fresh_discriminator, fresh_networks, grow, load_base
from refacer.weights.choices import choose
from refacer.weights.pair_json import EFFICIENTNET, PAIR_FILE, encode_facts
from refacer.weights.pairs import Pair, encode_beside, encode_files
from refacer.weights.registry import UNSTATED
from refacer.weights.terms import in_words

SPELLED = {
    "tick_kimg": "--tick",
    "base_sha256": "--base",
    "init_sha256": "--init",
    "direction_sha256": "--direction",
    "data_sha256": "the pictures",
    "data_count": "the number of pictures",
}
NO_OPTION = frozenset({
    "adam_betas", "adam_eps", "r1_interval", "pl_interval", "pl_decay", "pl_batch_shrink", "style_mixing", "ada_target",
    "ada_interval", "sketch_max_px", "color_px", "color_blur_kernel", "color_blur_sigma", "freeze", "sample_count",
    "sketch", "perceptual", "similarity_weight", "similarity_px", "direction_weight", "source_count", "compass", "clip",
})  # fmt: skip
"""Values of the configuration that no option of the command sets."""


class StyleRecipe:
    """The recipe of `refacer finetune` (see `Recipe`)."""

    command = "refacer finetune"

    def __init__(
        self,
        sources: Sequence[Path],
        base: str | None,
        options: FinetuneOptions,
        sizes: NetworkOptions | None = None,
        resolution: int | None = None,
        device: str = "auto",
        files: TextFiles = NO_FILES,
    ) -> None:
        """sources: folders and zips of faces; base: a pair or a base, None for the default pair or, from scratch, none.

        sizes: of networks from scratch, but for their resolution. resolution: None is the base's, else that of sizes.
        Raises UsageError, InputRefused, WeightsMissing.
        """
        options = with_known_rule(options, files)
        self.sources, self.options, self.device = sources, options, choose_device(device_name(device))
        parts_of(options, 1)
        self.rule = rule_of(options, files)
        if options.range_faces and (options.from_scratch or not self.rule.pictures):
            raise UsageError("--range-faces: only a rendering generator that learns from faces has a range to measure")
        if options.compile:
            require_compiler(self.device)
        self.base = None if options.from_scratch and base is None else load_base(base)
        self.earlier = self._earlier_style()
        self.network = self._sizes(sizes or NetworkOptions(), resolution)
        self.identity = RunIdentity(self.network.resolution, self.device, paired=not options.from_scratch)
        order = "each code through the realistic generator and, right of it, the rendering one"
        self.sample_order = "" if options.from_scratch else order

    def _earlier_style(self) -> Pair | None:
        """The pair whose rendering generator goes on, None for a copy of the realistic one; raises UsageError."""
        if self.options.init == "real":
            return None
        if self.options.from_scratch:
            raise UsageError("--init rendering: a base from scratch has no style to go on with")
        pair = self.base.pair if self.base else None
        if pair is None or not pair.has("rendering"):
            raise UsageError("--init rendering: the base has no rendering generator; name a pair as --base")
        return pair

    def _sizes(self, sizes: NetworkOptions, resolution: int | None) -> NetworkOptions:
        """Sizes of the networks in training: the base's, or those asked for."""
        if self.base is None:
            return replace(sizes, resolution=resolution or sizes.resolution)
        c = self.base.generator.config
        if resolution not in (None, c.img_resolution) and not self.options.from_scratch:
            raise UsageError(f"--resolution {resolution}: a pair keeps its base's {c.img_resolution}")
        return NetworkOptions(
            resolution or c.img_resolution, c.channel_base, c.channel_max, c.z_dim, c.w_dim, c.mapping_layers
        )

    def configuration(self) -> dict[str, Any]:
        """What a resumed run must share with this one, but for the pictures."""
        scratch = self.options.from_scratch
        return {
            "options": asdict(self.options),
            "network": asdict(self.network),
            "base_sha256": self.base.sha256 if self.base else None,
            **({"init_sha256": self.earlier.sha256("rendering")} if self.earlier else {}),
            **({"sketch": None, "perceptual": None} if scratch else self.rule.configuration()),
        }

    def spelled(self, name: str) -> str:
        """The option that sets a value of the configuration; its own name where there is none."""
        return SPELLED.get(name) or (name if name in NO_OPTION else f"--{name.replace('_', '-')}")

    def load_data(self) -> dict[str, FaceDataset]:
        """The aligned faces, at the networks' resolution."""
        o = self.options
        if not self.rule.pictures:
            return {}
        if not self.sources:
            raise UsageError("name the folders or zips of faces to learn from")
        return {"data": FaceDataset(self.sources, self.network.resolution, mirror=o.mirror, seed=o.seed)}

    def make_trainer(self, data: Mapping[str, FaceDataset], folder: RunFolder, processes: Processes) -> Trainer:
        """A trainer over fresh, grown or copied networks; for a pair also over the frozen ones."""
        pictures = data.get("data")
        nets = self._scratch_networks() if self.options.from_scratch else self._style_networks(pictures, folder.path)
        if processes.first and not self.options.from_scratch:
            self._tell(folder)
        return Trainer(nets, pictures, self.options, self.device, processes, self.rule.rule)

    def _scratch_networks(self) -> TrainingNetworks:
        made = grow(self.base, self.network) if self.base else fresh_networks(self.network)
        return training_networks(*made, self.device)

    def _style_networks(self, pictures: FaceDataset | None, folder: Path) -> TrainingNetworks:
        """G_rendering as a copy of the base's G_real or earlier style, and the networks that stay as they are."""
        assert self.base is not None
        real, earlier = self.base.generator.to(self.device), self.earlier
        # a copy is trained: the pair carries the base's own, with which further styles start
        discriminator = copy.deepcopy(self.base.discriminator) or fresh_discriminator(real)
        return training_networks(
            earlier.generator("rendering", self.device) if earlier else copy.deepcopy(real),
            discriminator,
            self.device,
            real=real,
            **self.rule.networks(Beginning(self.device, real, pictures, folder)),
        )

    def _tell(self, folder: RunFolder) -> None:
        """What users should know about the networks of a style."""
        if self.rule.rule.adversarial and self.base is not None and self.base.discriminator is None:
            folder.warn("the base carries no discriminator: a fresh one starts")
        for note in self.rule.notes():
            folder.note(note)
        if self.sources and not self.rule.pictures:
            folder.note("the given pictures are not looked at")
        if self.identity.reason:
            folder.note(f"identity between the generators is not measured: {self.identity.reason}")
        if self.options.range_faces:
            folder.note(f"at the end {self.options.range_faces} pictures are projected, to know the pair's range")

    def observe(self, trainer: Trainer, tick: Tick) -> Observation:
        """Losses as they enter the sum, gradients relative to the adversarial one, identity; samples of fixed codes."""
        o = self.options
        weights = {
            "loss/generator": 1.0,
            "loss/discriminator": 1.0,
            **{f"loss/{name}": term.weight for name, term in trainer.terms.items()},
            "loss/r1": o.gamma / 2,
            "loss/path_length": o.pl_weight,
        }
        norms = tick.measured["gradient_norms"]
        whole = norms.get("adversarial", 0.0)
        relative = {name: norm / whole for name, norm in norms.items() if whole}
        rendering, real = sample_pairs(trainer.nets, o.sample_count, self.device)
        identity = self.identity.measured(rendering, real)
        numbers = {"weighted": weighted(tick, weights), "gradient_relative": relative, "identity": identity}
        return Observation(numbers, [rendering] if real is None else [real, rendering])

    def licences(self) -> dict[str, str]:
        """The terms of the base, the pictures and what compares; a stand-in without weights has none."""
        base = {"base": self.base.licence, "commercial use": self.base.commercial} if self.base else {}
        if self.options.from_scratch:
            return base | TERMS_OF_PICTURES
        pictures = TERMS_OF_PICTURES if self.rule.pictures else {}
        return base | pictures | in_words([*self.rule.uses(), *self.identity.uses])

    def encode_result(self, name: str, trainer: Trainer) -> dict[str, bytes]:
        """The files of a pair that holds the averaged generator and knows its range; from scratch, those of a base."""
        nets, base = trainer.nets, self.base
        generator, discriminator = copy.deepcopy(nets.generator_ema).cpu(), copy.deepcopy(nets.discriminator).cpu()
        licence, commercial = (base.licence, base.commercial) if base else (UNSTATED, "unclear")
        facts = {"licence": licence, "commercial": commercial, "kimg": trainer.images_seen / 1000}
        if self.options.rule != "paper":
            facts["rule"] = self.rule.label
        if base is None or self.options.from_scratch:
            return encode_base(generator, discriminator, facts)
        base.generator.cpu()
        files = encode_pair(name, base, generator, facts)
        if count := self.options.range_faces:
            finished = Pair(base.pair.folder if base.pair else Path(), json.loads(files[PAIR_FILE]))
            assert trainer.data is not None
            faces = faces_of(trainer.data, count, self.device)
            known = {"range": measured_range(finished, nets.generator_ema, faces)}
            files[PAIR_FILE] = encode_facts({**finished.facts, **known})
        return files


def with_known_rule(options: FinetuneOptions, files: TextFiles) -> FinetuneOptions:
    """The options with the rule that will work: without CLIP and without a text, nada is guided by the pictures."""
    asked = options.text or options.source_text or files.direction or files.vocabulary
    if options.rule != "nada" or asked or not choose("clip", "clip").missing():
        return options
    return replace(options, rule="image-guided")


def encode_pair(name: str, base: Base, rendering: Generator, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a fine-tuned pair: what an installed pair holds is named by sha256, all else is inside.

    The base's discriminator travels along: further styles start from it.
    """
    c, pair = rendering.config, base.pair
    sizes = {"resolution": c.img_resolution, "num_ws": c.num_ws, "w_dim": c.w_dim}
    about: dict[str, Any] = {"name": name, **sizes, **facts}
    networks: dict[str, nn.Module] = {"rendering": rendering}
    if pair is None:
        _, w_std = w_statistics(base.generator, WStatistics())
        networks |= {"real": base.generator, "discriminator": base.discriminator or fresh_discriminator(rendering)}
        defaults = {"steps": ProjectOptions.steps, "lr": ProjectOptions.lr}
        about |= {"w_std": w_std, "defaults": defaults, "perceptual": {"network": EFFICIENTNET}}
        return encode_files(networks, about, {})
    about |= {key: pair.facts[key] for key in ("w_std", "perceptual")}
    about["defaults"] = {**pair.facts["defaults"], "way": "project"}  # no network is distilled from this pair yet
    return encode_beside(pair, networks, about, ("real", "discriminator", "parser"))
