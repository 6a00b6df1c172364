"""One run of `finetune`: from the folder's last state to a pair or a base, by one process or several."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from refacer import __version__, console
from refacer.device import choose_device, machine_name, require_compiler
from refacer.errors import UsageError
from refacer.files import write_atomic
from refacer.finetuning.folder import CONFIGURATION, STATES, RunFolder, refuse_difference
from refacer.finetuning.identity import RunIdentity
from refacer.finetuning.options import difference, spelled
from refacer.finetuning.record import TrainingRecord
from refacer.finetuning.refusals import Refusals
from refacer.finetuning.result import encode_result
from refacer.finetuning.stopping import SHELL, Stopping, stopping
from refacer.options import FinetuneOptions, NetworkOptions
from refacer.training.checkpoint import decode_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Stopped, Tick, finetune
from refacer.training.processes import Processes, device_name, joined, parts_of
from refacer.training.trained import make_networks
from refacer.training.trainer import Trainer
from refacer.weights.bases import fresh_discriminator, fresh_networks, grow, load_base
from refacer.weights.choices import choose


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
        if options.compile:
            require_compiler(self.device)
        self.base = None if options.from_scratch and base is None else load_base(base)
        self.network = self._network(resolution, sizes)
        self.data_paths = data
        self.disk = RunFolder(folder, quiet=quiet)
        self.quiet = quiet
        self.processes = Processes()
        identity = RunIdentity(self.network.resolution, self.device, paired=not options.from_scratch)
        self.record, self.refusals = TrainingRecord(self.disk, options, identity), Refusals(self.disk)

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
            "sketch": choose("sketch").description if not self.options.from_scratch else None,
            "perceptual": choose("perceptual").description if not self.options.from_scratch else None,
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
                self.disk.lock.release()

    def _train(self, trainer: Trainer) -> None:
        """Train to the end; outside the loop there is nothing to save, and signals act as in any command."""
        with stopping(quiet=self.quiet or not self.processes.first) as asked:
            for event in finetune(trainer, lambda: self._agreed(asked)):
                if isinstance(event, Tick):
                    self._keep(trainer, event)
                elif isinstance(event, Stopped):
                    self._leave(trainer, asked)
        self.processes.from_first(lambda: self._export(trainer))
        self.record.close()

    def _agreed(self, asked: Stopping) -> bool:
        """Whether any process was asked to stop; all leave after the same iteration."""
        asked.number = self.processes.largest(asked.number)
        return asked.number != 0

    def _keep(self, trainer: Trainer, tick: Tick) -> None:
        """Keep what a tick has shown, and the state. The log comes first: without its state it is trimmed."""
        state = self._state(trainer)

        def write() -> None:
            self.refusals.tell_new(trainer.data)
            line, small = self.record.add(trainer, tick)
            self.disk.save(state)
            self.record.show(line, small, self._tables(trainer.data))

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
        self.processes.from_first(lambda: self.record.follow(trainer.images_seen))
        return trainer

    def _prepared(self, data: FaceDataset, resume: str) -> tuple[Path, bytes] | None:
        """The folder ready to go on, and the state to go on from as bytes, which travel to all processes."""
        self.disk.lock.claim()
        found = self.disk.open(resume)
        if found is not None:
            old = json.loads(decode_checkpoint(found[1], found[0]).get("configuration", "{}"))
            refuse_difference(found[0], difference(old, self._asked(data)))
        self.disk.clear(resume)
        self.refusals.tell(data)
        self._write_configuration(data)
        return found

    def _networks(self) -> Any:
        """Fresh, grown or copied networks; for a pair also the frozen ones."""
        if self.options.from_scratch:
            pair = grow(self.base, self.network) if self.base else fresh_networks(self.network)
            return make_networks(*pair, self.device)
        assert self.base is not None
        real = self.base.generator.to(self.device)
        # a copy is trained: the pair carries the base's own, with which further styles start
        discriminator = copy.deepcopy(self.base.discriminator) or fresh_discriminator(real)
        if self.base.discriminator is None:
            self.processes.from_first(lambda: self.disk.warn("the base carries no discriminator: a fresh one starts"))
        sketch = choose("sketch")
        self.processes.from_first(lambda: self.disk.note(f"sketches (Eq. 1): {sketch.description}"))
        return make_networks(
            copy.deepcopy(real), discriminator, self.device, real=real, sketch=sketch.load(self.device),
            perceptual=choose("perceptual").load(self.device),
        )  # fmt: skip

    # ------------------------------------------------------------ the folder

    def _refuse_early(self, resume: str) -> None:
        """Refuse a state that is not there, a folder in use or of another configuration, before anything is made."""
        if resume not in ("auto", "never") and not Path(resume).is_file():
            raise UsageError(f"--resume {resume}: no such file; name one of {self.folder}/{STATES}")
        if self.folder.is_dir():
            self.disk.lock.claim()
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
            "machine": machine_name(self.device),
            "processes": self.processes.world,
        }

    def _tables(self, data: FaceDataset) -> dict[str, dict[str, Any]]:
        """What report.html says about the run beside its curves."""
        asked = self._asked(data)
        licence = {"base": self.base.licence, "commercial use": self.base.commercial} if self.base else {}
        pictures = {"pictures": "not known to the program; the result is bound by theirs, too"}
        return {
            "Options": {spelled(name): value for name, value in asked.pop("options").items()},
            "Networks": asked.pop("network") | {n: v for n, v in asked.items() if v is not None},
            "Hardware and software": self._about(),
            "Licences": licence | pictures | self.record.identity.terms(),
        }

    def _export(self, trainer: Trainer) -> None:
        """Write what the run ends in."""
        for name, data in encode_result(self.folder.name, self.base, trainer).items():
            write_atomic(self.folder / name, data)


def _be_deterministic(wanted: bool) -> None:
    """Let torch take its repeatable algorithms; cuBLAS reads its part of it when it starts."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted, warn_only=True)
