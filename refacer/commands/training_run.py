"""The run folder of `finetune`: configuration, log, samples, checkpoints, and the pair or base at the end."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from refacer import __version__
from refacer.commands import console
from refacer.device import choose_device
from refacer.errors import UsageError
from refacer.files import encode_png, write_atomic
from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.networks.sketch import LineExtractor
from refacer.networks.stylegan2 import Generator
from refacer.options import FinetuneOptions, NetworkOptions, ProjectOptions, WStatistics
from refacer.pixels import rgb_from_tensor
from refacer.stages.finetune import Tick, finetune, sample_pairs
from refacer.stages.project import w_statistics
from refacer.training.checkpoint import load_checkpoint, load_latest, save_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.loop import Trainer, make_networks
from refacer.weights.bases import Base, encode_base, fresh_discriminator, fresh_networks, grow, load_base
from refacer.weights.pairs import encode_files

MAY_CHANGE = {"kimg", "tick_kimg", "sample_count", "accumulate"}
"""Options that a resumed run may change without becoming another run."""


class TrainingRun:
    """One run: what it was asked for, its folder, its trainer."""

    def __init__(
        self,
        data: list[Path],
        folder: Path,
        base: str | None,
        resolution: int | None,
        sizes: Mapping[str, int],
        options: FinetuneOptions,
        device: str,
        quiet: bool = False,
    ) -> None:
        self.folder, self.options, self.device = folder, options, choose_device(device)
        if options.batch % options.accumulate:
            raise UsageError(f"--batch {options.batch} cannot be split into --accumulate {options.accumulate} rounds")
        self.base = None if options.from_scratch and base is None else load_base(base)
        self.network = self._network(resolution, sizes)
        self.data_paths = data
        self.quiet = quiet

    def _network(self, resolution: int | None, sizes: Mapping[str, int]) -> NetworkOptions:
        """Sizes of the networks in training: the base's, or those asked for."""
        if self.base is None:
            return NetworkOptions(resolution=resolution or NetworkOptions.resolution, **sizes)
        c = self.base.generator.config
        if resolution not in (None, c.img_resolution) and not self.options.from_scratch:
            raise UsageError(f"--resolution {resolution}: a pair keeps its base's {c.img_resolution}")
        return NetworkOptions(
            resolution or c.img_resolution, c.channel_base, c.channel_max, c.z_dim, c.w_dim, c.mapping_layers
        )

    def configuration(self) -> dict[str, Any]:
        """What a resumed run must share with this one."""
        return {
            "options": asdict(self.options),
            "network": asdict(self.network),
            "base_sha256": self.base.sha256 if self.base else None,
            "sketch": "lines (XDoG stand-in)" if not self.options.from_scratch else None,
            "perceptual": "base discriminator (stand-in)" if not self.options.from_scratch else None,
        }

    def show(self) -> None:
        """Print the configuration (`--dry-run`)."""
        console.payload_text(json.dumps(self.configuration(), indent=1))

    def go(self, resume: str) -> None:
        """Train from where the folder stands to the end."""
        torch.use_deterministic_algorithms(
            self.options.deterministic, warn_only=True
        )  # ADA's sampling has none on CUDA
        self._refuse_difference(resume)
        trainer = self._trainer()
        self._write_configuration()
        self._restore(trainer, resume)
        for event in finetune(trainer):
            if isinstance(event, Tick):
                self._log(event)
                self._samples(trainer)
                save_checkpoint(self.folder / "checkpoints", trainer.state_dict())
        self._export(trainer)

    def _trainer(self) -> Trainer:
        data = FaceDataset(self.data_paths, self.network.resolution, mirror=self.options.mirror, seed=self.options.seed)
        for name, reason in data.refused:
            console.warn(f"left out {name}: {reason}")
        if self.device.type == "cuda":
            data.keep_on(self.device)
        torch.manual_seed(self.options.seed)
        return Trainer(self._networks(), data, self.options, self.device)

    def _networks(self) -> Any:
        """Fresh, grown or copied networks; for a pair also the frozen ones."""
        if self.options.from_scratch:
            pair = grow(self.base, self.network) if self.base else fresh_networks(self.network)
            return make_networks(*pair, self.device)
        assert self.base is not None
        real = self.base.generator.to(self.device)
        discriminator = self.base.discriminator or fresh_discriminator(real)
        if self.base.discriminator is None:
            console.warn("the base carries no discriminator: a fresh one starts")
        frozen = copy.deepcopy(discriminator).to(self.device).eval().requires_grad_(False)
        return make_networks(
            copy.deepcopy(real), discriminator, self.device, real=real, sketch=LineExtractor().to(self.device),
            perceptual=DiscriminatorFeatures(frozen),
        )  # fmt: skip

    # ------------------------------------------------------------ the folder

    def _refuse_difference(self, resume: str) -> None:
        """Refuse to go on with another configuration; the difference is shown."""
        path, mine = self.folder / "config.json", self.configuration()
        if path.is_file() and resume != "never":
            difference = _difference(json.loads(path.read_text()), mine)
            if difference:
                raise UsageError(f"{self.folder}: its run differs in {difference}; use another -o or --resume never")

    def _write_configuration(self) -> None:
        """What the run was asked for, and on what it runs."""
        path = self.folder / "config.json"
        body = {
            **self.configuration(),
            "refacer": __version__,
            "torch": torch.__version__,
            "machine": _machine(self.device),
        }
        write_atomic(path, json.dumps(body, indent=1).encode() + b"\n")

    def _restore(self, trainer: Trainer, resume: str) -> None:
        if resume == "never":
            return
        if resume != "auto":
            trainer.load_state_dict(load_checkpoint(Path(resume), self.device))
            return
        state, damaged = load_latest(self.folder / "checkpoints", self.device)
        for path in damaged:
            console.warn(f"{path}: damaged, the one before is used")
        if state is not None:
            trainer.load_state_dict(state)
        self._trim_log(trainer.images_seen)

    def _trim_log(self, images_seen: int) -> None:
        """Drop lines of ticks that no checkpoint holds: they will be seen again."""
        path = self.folder / "log.jsonl"
        if path.is_file():
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["images_seen"] <= images_seen]
            write_atomic(path, "".join(kept).encode())

    def _log(self, tick: Tick) -> None:
        o, m = self.options, tick.means
        weights = {"loss/sketch": o.sketch_weight, "loss/color": o.color_weight, "loss/r1": o.gamma / 2,
                   "loss/path_length": o.pl_weight}  # fmt: skip
        weighted = {name: m[name] * weight for name, weight in weights.items() if name in m}
        adversarial = tick.gradient_norms["adversarial"]
        relative = {k: v / adversarial for k, v in tick.gradient_norms.items() if adversarial}
        line = {**asdict(tick), "weighted": weighted, "gradient_relative": relative}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if not self.quiet:
            console.note(_tick_line(tick))

    def _samples(self, trainer: Trainer) -> None:
        """A grid: each code through G_real (above, where there is one) and the generator in training."""
        drawn, real = sample_pairs(trainer, self.options.sample_count)
        rows = [drawn] if real is None else [real, drawn]
        columns = 8
        bands = [row[i : i + columns] for i in range(0, len(drawn), columns) for row in rows]
        grid = torch.cat([torch.cat(list(band), dim=2) for band in bands], dim=1)
        path = self.folder / "samples" / f"{trainer.images_seen:09d}.png"
        write_atomic(path, encode_png(rgb_from_tensor(grid), None))

    def _export(self, trainer: Trainer) -> None:
        """The averaged generator as a pair, or as a base."""
        nets = trainer.nets
        generator, discriminator = copy.deepcopy(nets.generator_ema).cpu(), copy.deepcopy(nets.discriminator).cpu()
        licence = self.base.licence if self.base else "unstated"
        commercial = self.base.commercial if self.base else "unclear"
        facts: dict[str, Any] = {"licence": licence, "commercial": commercial, "kimg": trainer.images_seen / 1000}
        if self.options.from_scratch:
            files = encode_base(generator, discriminator, facts)
        else:
            assert self.base is not None
            self.base.generator.cpu()
            files = encode_pair(self.folder.name, self.base, generator, facts)
        for name, data in files.items():
            write_atomic(self.folder / name, data)


def _tick_line(tick: Tick) -> str:
    """A tick in one line, for people."""
    means = "  ".join(f"{name.removeprefix('loss/')} {value:.4g}" for name, value in tick.means.items())
    speed = f"{tick.seconds_per_kimg:.1f} s/kimg  p {tick.augment_p:.3f}"
    return f"{tick.images_seen / 1000:.1f} kimg  {speed}  {means}"


def encode_pair(name: str, base: Base, rendering: Generator, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a fine-tuned pair: what an installed pair holds is named by sha256, all else is inside.

    The base's discriminator travels along: further styles start from it, and it is the perceptual stand-in.
    """
    c, pair = rendering.config, base.pair
    about: dict[str, Any] = {
        "name": name,
        "resolution": c.img_resolution,
        "num_ws": c.num_ws,
        "w_dim": c.w_dim,
        **facts,
    }
    networks: dict[str, nn.Module] = {"rendering": rendering}
    if pair is None:
        _, w_std = w_statistics(base.generator, WStatistics())
        networks |= {"real": base.generator, "discriminator": base.discriminator or fresh_discriminator(rendering)}
        defaults = {"steps": ProjectOptions.steps, "lr": ProjectOptions.lr}
        return encode_files(networks, {**about, "w_std": w_std, "defaults": defaults, "perceptual": {}}, {})
    about |= {key: pair.facts[key] for key in ("w_std", "defaults", "perceptual")}
    shared = [role for role in ("real", "discriminator", "parser") if pair.has(role)]
    if pair.installed:
        return encode_files(networks, about, {role: pair.sha256(role) for role in shared})
    return encode_files(networks | {role: pair.network(role) for role in shared}, about, {})


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs between two configurations, as text."""
    flat_old, flat_new = _flat(old), _flat(new)
    names = [n for n in flat_new if n not in MAY_CHANGE and flat_old.get(n) != flat_new[n]]
    return ", ".join(f"{n} ({flat_old.get(n)} there, {flat_new[n]} here)" for n in names)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for name, value in values.items():
        items.update(value if isinstance(value, Mapping) else {name: value})
    return json.loads(json.dumps(items))


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
