"""One run of `finetune`: from the folder's last state to a pair or a base, by one process or several."""

from __future__ import annotations

import copy
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refacer import __version__
from refacer.commands import console
from refacer.commands.board import MISSING, Board
from refacer.commands.charts import spread
from refacer.commands.run_folder import CONFIGURATION, RunFolder, refuse_difference
from refacer.commands.run_identity import RunIdentity
from refacer.commands.run_options import difference, spelled
from refacer.commands.stopping import SHELL, Stopping, stopping
from refacer.commands.training_report import SHOWN_PICTURES, report_page
from refacer.device import choose_device
from refacer.errors import UsageError
from refacer.files import encode_png, write_atomic
from refacer.networks.perceptual import shrink
from refacer.networks.stylegan2 import Generator
from refacer.options import FinetuneOptions, NetworkOptions, ProjectOptions, WStatistics
from refacer.pixels import rgb_from_tensor
from refacer.stages.finetune import Stopped, Tick, finetune, sample_pairs
from refacer.stages.project import w_statistics
from refacer.training.checkpoint import decode_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.loop import Trainer, make_networks
from refacer.training.processes import Processes, device_name, joined, parts_of
from refacer.types import Rgb
from refacer.weights.bases import Base, encode_base, fresh_discriminator, fresh_networks, grow, load_base
from refacer.weights.pairs import EFFICIENTNET, encode_files
from refacer.weights.published import perceptual_name, perceptual_network, sketch_extractor, sketch_name

SMALL_CODES, SMALL_COLUMNS, SMALL_PX = 8, 4, 128
"""Of the samples in report.html."""

SHOWN_REFUSALS = 20
"""More pictures that are left out are counted, not named, on stderr; the file names them all."""


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
        self.folder, self.options, self.device = folder, options, choose_device(device_name(device))
        parts_of(options, 1)
        self.base = None if options.from_scratch and base is None else load_base(base)
        self.network = self._network(resolution, sizes)
        self.identity = RunIdentity(self.network.resolution, self.device, paired=not options.from_scratch)
        self.data_paths = data
        self.disk = RunFolder(folder, quiet=quiet)
        self.quiet = quiet
        self.processes = Processes()
        self.board = Board(None, 0)

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
            "sketch": sketch_name() if not self.options.from_scratch else None,
            "perceptual": perceptual_name() if not self.options.from_scratch else None,
        }

    def show(self) -> None:
        """Print the configuration (`--dry-run`)."""
        console.payload_text(json.dumps(self.configuration(), indent=1))

    def go(self, resume: str) -> None:
        """Train from where the folder stands to the end; leaves by SystemExit where a signal asked for it."""
        _be_deterministic(self.options.deterministic)
        with joined(self.device) as self.processes:
            try:
                self.processes.from_first(lambda: self._refuse_early(resume))
                self._train(self._trainer(resume))
            finally:
                self.disk.release()

    def _train(self, trainer: Trainer) -> None:
        """Train to the end; outside the loop there is nothing to save, and signals act as in any command."""
        with stopping(quiet=self.quiet or not self.processes.first) as asked:
            for event in finetune(trainer, lambda: self._agreed(asked)):
                if isinstance(event, Tick):
                    self._record(trainer, event)
                elif isinstance(event, Stopped):
                    self._leave(trainer, asked)
        self.processes.from_first(lambda: self._export(trainer))
        self.board.close()

    def _agreed(self, asked: Stopping) -> bool:
        """Whether any process was asked to stop; all leave after the same iteration."""
        asked.number = self.processes.largest(asked.number)
        return asked.number != 0

    def _record(self, trainer: Trainer, tick: Tick) -> None:
        """Keep what a tick has shown, and the state. The log comes first: without its state it is trimmed."""
        state = self._state(trainer)

        def write() -> None:
            self._report_new_refusals(trainer.data)
            drawn, real = sample_pairs(trainer, self.options.sample_count)
            line = self._log(tick, self.identity.measured(drawn, real))
            small = self._samples(trainer.images_seen, drawn, real)
            self.disk.save(state)
            self.board.add(line, small)
            self._report(trainer)

        self.processes.from_first(write)
        self._saved = trainer.images_seen

    def _leave(self, trainer: Trainer, asked: Stopping) -> None:
        """Save where a signal came and exit as the shell expects."""
        if self._saved != trainer.images_seen:
            state = self._state(trainer)
            self.processes.from_first(lambda: self.disk.save(state))
        if self.processes.first:
            self.disk.note(f"saved at {trainer.images_seen / 1000:g} kimg; the same command goes on")
        raise SystemExit(SHELL + asked.number)

    def _state(self, trainer: Trainer) -> dict[str, Any]:
        """All that is needed to go on, with what the run was asked for."""
        return trainer.state_dict() | {"configuration": json.dumps(self._asked(trainer.data))}

    def _asked(self, data: FaceDataset) -> dict[str, Any]:
        """The configuration with the pictures, which are known only once they were read."""
        return {**self.configuration(), "data_count": len(data), "data_sha256": data.sha256}

    # ------------------------------------------------------------ setting up

    def _trainer(self, resume: str) -> Trainer:
        """The trainer as it was when its last state was saved; the folder is made once the pictures can be used."""
        data = FaceDataset(self.data_paths, self.network.resolution, mirror=self.options.mirror, seed=self.options.seed)
        found = self.processes.from_first(lambda: self._prepared(data, resume))
        if self.device.type == "cuda":
            data.keep_on(self.device)
        torch.manual_seed(self.options.seed)
        trainer = Trainer(self._networks(), data, self.options, self.device, self.processes)
        if found is not None:
            trainer.load_state_dict(decode_checkpoint(found[1], found[0]))
        self._saved = trainer.images_seen if found is not None else -1
        self.processes.from_first(lambda: self._follow(trainer.images_seen))
        return trainer

    def _follow(self, images_seen: int) -> None:
        """Let log and event files go on behind the state."""
        self.disk.trim_log(images_seen)
        self.board = Board(self.folder / "tensorboard", images_seen)
        if not self.board.available:
            self.disk.note(MISSING)
        if self.identity.reason and not self.options.from_scratch:
            self.disk.note(f"identity between the generators is not measured: {self.identity.reason}")

    def _prepared(self, data: FaceDataset, resume: str) -> tuple[Path, bytes] | None:
        """The folder ready to go on, and the state to go on from as bytes, which travel to all processes."""
        self.disk.claim()
        found = self.disk.open(resume)
        if found is not None:
            old = json.loads(decode_checkpoint(found[1], found[0]).get("configuration", "{}"))
            refuse_difference(found[0], difference(old, self._asked(data)))
        self.disk.clear(resume)
        self._report_pictures(data)
        self._write_configuration(data)
        return found

    def _report_pictures(self, data: FaceDataset) -> None:
        """What was left out and what was changed, in messages and by name in refused.json."""
        for _, reason in data.refused[:SHOWN_REFUSALS]:
            self.disk.warn(f"left out {reason}")
        if len(data.refused) > SHOWN_REFUSALS:
            self.disk.warn(f"left out {len(data.refused) - SHOWN_REFUSALS} more; refused.json names them")
        kinds: dict[str, list[str]] = {}
        for name, change in data.converted:
            kinds.setdefault(change, []).append(name)
        for change, names in kinds.items():
            self.disk.warn(f"{change}: {len(names)} of the pictures, the first {names[0]}")
        self._reported = len(data.refused)
        if data.refused or data.converted:
            self._write_refusals(data)

    def _report_new_refusals(self, data: FaceDataset) -> None:
        """Files that have gone bad since the run began."""
        for _, reason in data.refused[self._reported :]:
            self.disk.warn(f"the next picture is used in place of {reason}")
        if len(data.refused) > self._reported:
            self._reported = len(data.refused)
            self._write_refusals(data)

    def _write_refusals(self, data: FaceDataset) -> None:
        left_out = [{"name": name, "reason": reason} for name, reason in data.refused]
        changed = [{"name": name, "change": change} for name, change in data.converted]
        self.disk.write_json("refused.json", {"left_out": left_out, "converted": changed})

    def _networks(self) -> Any:
        """Fresh, grown or copied networks; for a pair also the frozen ones."""
        if self.options.from_scratch:
            pair = grow(self.base, self.network) if self.base else fresh_networks(self.network)
            return make_networks(*pair, self.device)
        assert self.base is not None
        real = self.base.generator.to(self.device)
        discriminator = self.base.discriminator or fresh_discriminator(real)
        if self.base.discriminator is None:
            self.processes.from_first(lambda: self.disk.warn("the base carries no discriminator: a fresh one starts"))
        self.processes.from_first(lambda: self.disk.note(f"sketches (Eq. 1): {sketch_name()}"))
        return make_networks(
            copy.deepcopy(real), discriminator, self.device, real=real, sketch=sketch_extractor(self.device),
            perceptual=perceptual_network(self.device),
        )  # fmt: skip

    # ------------------------------------------------------------ the folder

    def _refuse_early(self, resume: str) -> None:
        """Refuse a folder in use, or of another configuration, before the pictures are read."""
        if self.folder.is_dir():
            self.disk.claim()
        old = None if resume == "never" else self.disk.configuration()
        if old is not None:
            refuse_difference(self.folder, difference(old, self.configuration()))

    def _write_configuration(self, data: FaceDataset) -> None:
        """What the run was asked for, and on what it runs."""
        self.disk.write_json(CONFIGURATION, {**self._asked(data), **self._about()})

    def _about(self) -> dict[str, Any]:
        return {
            "refacer": __version__,
            "torch": torch.__version__,
            "machine": _machine(self.device),
            "processes": self.processes.world,
        }

    def _log(self, tick: Tick, identity: Mapping[str, float]) -> dict[str, Any]:
        """Append a tick to the log; returns its line."""
        o, m = self.options, tick.means
        weights = {"loss/generator": 1.0, "loss/discriminator": 1.0, "loss/sketch": o.sketch_weight,
                   "loss/color": o.color_weight, "loss/r1": o.gamma / 2, "loss/path_length": o.pl_weight}  # fmt: skip
        weighted = {name: m[name] * weight for name, weight in weights.items() if name in m}
        adversarial = tick.gradient_norms["adversarial"]
        relative = {k: v / adversarial for k, v in tick.gradient_norms.items() if adversarial}
        line = {**asdict(tick), "weighted": weighted, "gradient_relative": relative, "identity": dict(identity)}
        self.disk.log(line)
        self.disk.note(_tick_line(tick))
        return line

    def _samples(self, images_seen: int, drawn: Tensor, real: Tensor | None) -> Rgb:
        """A grid: each code through G_real (above, where there is one) and the generator in training.

        Returns the small one that report.html holds: both pictures of a code side by side.
        """
        rows = [drawn] if real is None else [real, drawn]
        columns = 8
        bands = [row[i : i + columns] for i in range(0, len(drawn), columns) for row in rows]
        grid = torch.cat([torch.cat(list(band), dim=2) for band in bands], dim=1)
        path = self.folder / "samples" / f"{images_seen:09d}.png"
        write_atomic(path, encode_png(rgb_from_tensor(grid), None))
        small = _small_grid(rows)
        write_atomic(self.folder / "report" / path.name, encode_png(small, None))
        return small

    def _report(self, trainer: Trainer) -> None:
        """report.html as things stand."""
        asked = self._asked(trainer.data)
        licence = {"base": self.base.licence, "commercial use": self.base.commercial} if self.base else {}
        tables = {
            "Options": {spelled(name): value for name, value in asked.pop("options").items()},
            "Networks": asked.pop("network") | {n: v for n, v in asked.items() if v is not None},
            "Hardware and software": self._about(),
            "Licences": licence
            | {"pictures": "not known to the program; the result is bound by theirs, too"}
            | self.identity.terms(),
        }
        found = spread(sorted((self.folder / "report").glob("*.png")), SHOWN_PICTURES)
        pictures = [(int(path.stem) / 1000, path.read_bytes()) for path in found]
        paired = trainer.nets.real is not None
        page = report_page(f"refacer finetune: {self.folder.name}", self.disk.ticks(), tables, pictures, paired=paired)
        write_atomic(self.folder / "report.html", page.encode())

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


def _small_grid(rows: list[Tensor]) -> Rgb:
    """The first codes, (N, 3, R, R) of each generator, as one small picture: a code's pictures side by side."""
    codes = [
        torch.cat(pictures, dim=2)
        for pictures in zip(*(shrink(row[:SMALL_CODES], SMALL_PX) for row in rows), strict=True)
    ]
    lines = [torch.cat(codes[i : i + SMALL_COLUMNS], dim=2) for i in range(0, len(codes), SMALL_COLUMNS)]
    wide = max(line.shape[2] for line in lines)
    return rgb_from_tensor(torch.cat([F.pad(line, (0, wide - line.shape[2]), value=1.0) for line in lines], dim=1))


def _tick_line(tick: Tick) -> str:
    """A tick in one line, for people."""
    means = "  ".join(f"{name.removeprefix('loss/')} {value:.4g}" for name, value in tick.means.items())
    speed = f"{tick.seconds_per_kimg:.1f} s/kimg  p {tick.augment_p:.3f}"
    return f"{tick.images_seen / 1000:.1f} kimg  {speed}  {means}"


def encode_pair(name: str, base: Base, rendering: Generator, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a fine-tuned pair: what an installed pair holds is named by sha256, all else is inside.

    The base's discriminator travels along: further styles start from it.
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
        return encode_files(
            networks, {**about, "w_std": w_std, "defaults": defaults, "perceptual": {"network": EFFICIENTNET}}, {}
        )
    about |= {key: pair.facts[key] for key in ("w_std", "defaults", "perceptual")}
    shared = [role for role in ("real", "discriminator", "parser") if pair.has(role)]
    if pair.installed:
        return encode_files(networks, about, {role: pair.sha256(role) for role in shared})
    return encode_files(networks | {role: pair.network(role) for role in shared}, about, {})


def _be_deterministic(wanted: bool) -> None:
    """Let torch take its repeatable algorithms; cuBLAS reads its part of it when it starts."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted, warn_only=True)


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
