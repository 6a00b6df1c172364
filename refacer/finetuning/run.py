"""One run of training: from its folder's last state to the result, by one process or several, through signals.

What is trained is a `Recipe`; the run knows nothing of it but this. Another kind of training is another recipe.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar

import torch

from refacer import __version__, console
from refacer.device import machine_name
from refacer.errors import InputRefused, UsageError
from refacer.files import write_atomic
from refacer.files.json_text import parse_json
from refacer.finetuning.folder import CONFIGURATION, STATES, RunFolder, difference
from refacer.finetuning.record import Observation, TrainingRecord
from refacer.training.checkpoint import decode_checkpoint
from refacer.training.dataset import FaceDataset
from refacer.training.finetune import Schedule, Stopped, Tick, Trains, train
from refacer.training.processes import Processes, joined

T = TypeVar("T", bound=Trains)
"""The kind of trainer that a recipe makes."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHELL = 128
"""A shell's exit code for a process that a signal ended is this and the signal's number."""

REPEAT_S = 2.0
"""torchrun passes on the Ctrl-C that its processes have had from the terminal: within this time it is the same one."""

NOTE = b"refacer: saving after this iteration, then leaving; a second signal leaves at once\n"


class RunOptions(Schedule, Protocol):
    """What a run reads of its recipe's options."""

    @property
    def seed(self) -> int:
        """Of everything random."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether torch takes its repeatable algorithms."""
        ...


class Recipe(Protocol[T]):
    """What is trained: its networks and pictures, what a resumed run must share, what it shows and ends in.

    command: what users type, such as 'refacer finetune'. sample_order: what the pictures of a code show, side by side,
    in words; empty where a code has only one.
    """

    command: str
    sample_order: str
    device: torch.device

    @property
    def options(self) -> RunOptions:
        """Length, ticks, seed."""
        ...

    def configuration(self) -> dict[str, Any]:
        """What a resumed run must share with this one: JSON values, those under `options` as they were asked for."""
        ...

    def spelled(self, name: str) -> str:
        """How users know a value of the configuration: its option, else its own name."""
        ...

    def load_data(self) -> Mapping[str, FaceDataset]:
        """The sets of pictures to train on, by name. Every process calls it."""
        ...

    def make_trainer(self, data: Mapping[str, FaceDataset], folder: RunFolder, processes: Processes) -> T:
        """A trainer that has seen nothing yet; what users should know is told by the first process in `folder`."""
        ...

    def observe(self, trainer: T, tick: Tick) -> Observation:
        """What a tick adds to log and samples. Only the first process calls it."""
        ...

    def licences(self) -> dict[str, str]:
        """The terms of what the run uses, by role."""
        ...

    def encode_result(self, name: str, trainer: T) -> dict[str, bytes]:
        """The files that the run ends in, by name; name: of the run."""
        ...


class Training(Generic[T]):
    """A recipe at work in a run folder."""

    def __init__(self, recipe: Recipe[T], folder: Path, *, quiet: bool = False) -> None:
        self.recipe, self.quiet = recipe, quiet
        self.folder = RunFolder(folder, recipe.command, quiet=quiet)
        title = f"{recipe.command}: {folder.name}"
        self.record = TrainingRecord(self.folder, title, recipe.sample_order)
        self.processes = Processes()
        self.data: Mapping[str, FaceDataset] = {}
        self.saved_at = -1  # images seen in the newest state of the folder

    def show(self) -> None:
        """Print the configuration (`--dry-run`)."""
        console.payload_text(json.dumps(self.recipe.configuration(), indent=1))

    def go(self, resume: str) -> None:
        """Train from where the folder stands to the end; leaves by SystemExit where a signal asked for it.

        resume: 'auto' (the last state), 'never', or the path of a state. Raises UsageError, InputRefused,
        OutputNotWritable.
        """
        if self.recipe.options.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
        torch.use_deterministic_algorithms(self.recipe.options.deterministic, warn_only=True)
        with joined(self.recipe.device) as self.processes:
            try:
                self.processes.from_first(lambda: self._refuse_early(resume))
                self._train(self._trainer(resume))
            finally:
                self.folder.lock.release()

    # ------------------------------------------------------------ setting up

    def _refuse_early(self, resume: str) -> None:
        """Refuse a state that is not there, a folder in use or of another configuration, before anything is made."""
        if resume not in ("auto", "never") and not Path(resume).is_file():
            raise UsageError(f"--resume {resume}: no such file; name one of {self.folder.path}/{STATES}")
        if self.folder.path.is_dir():
            self.folder.lock.claim()
        old = None if resume == "never" else self.folder.configuration()
        if old is not None:
            if (command := old.get("command", self.recipe.command)) != self.recipe.command:
                raise UsageError(f"{self.folder.path}: holds a run of `{command}`; use another -o")
            self._refuse_difference(self.folder.path, old, self.recipe.configuration())

    def _refuse_difference(self, place: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Raise UsageError where a run's configuration differs from the one asked for."""
        if found := difference(old, new, self.recipe.spelled):
            raise UsageError(f"{place}: its run differs in {found}; use another -o or --resume never")

    def _trainer(self, resume: str) -> T:
        """The trainer as it was when its last state was saved; the folder is made once the pictures can be used."""
        self.data = self.recipe.load_data()
        found = self.processes.from_first(lambda: self._prepare_folder(resume))
        if self.recipe.device.type == "cuda":
            for one in self.data.values():
                one.keep_on(self.recipe.device)
        torch.manual_seed(self.recipe.options.seed)
        trainer = self.recipe.make_trainer(self.data, self.folder, self.processes)
        if found is not None:
            trainer.load_state_dict(decode_checkpoint(found[1], found[0]))
            self.saved_at = trainer.images_seen
        self.processes.from_first(lambda: self.record.follow(trainer.images_seen))
        return trainer

    def _prepare_folder(self, resume: str) -> tuple[Path, bytes] | None:
        """The folder ready to go on, and the state to go on from as bytes, which travel to all processes."""
        self.folder.lock.claim()
        found = self.folder.open(resume)
        if found is not None:
            old = _configuration_of(*found)
            self._refuse_difference(found[0], old, self._configuration())
        self.folder.clear(resume)
        self.record.tell_unusual(self.data.values())
        self.folder.write_json(CONFIGURATION, {**self._configuration(), **self._machine()})
        return found

    def _configuration(self) -> dict[str, Any]:
        """The configuration with the pictures, which are known only once they were read."""
        known = self.recipe.configuration()
        for name, one in self.data.items():
            known |= {f"{name}_count": len(one), f"{name}_sha256": one.sha256}
        return known

    def _machine(self) -> dict[str, Any]:
        """On what the run is computed."""
        return {
            "command": self.recipe.command,
            "refacer": __version__,
            "torch": torch.__version__,
            "machine": machine_name(self.recipe.device),
            "processes": self.processes.world,
        }

    # ------------------------------------------------------------ training

    def _train(self, trainer: T) -> None:
        """Train to the end; outside the loop there is nothing to save, and signals act as in any command."""
        with stopping(quiet=self.quiet or not self.processes.first) as asked:
            for event in train(trainer, lambda: self._agreed(asked)):
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

    def _keep(self, trainer: T, tick: Tick) -> None:
        """Keep what a tick has shown, and the state. The log comes first: without its state it is trimmed."""
        state = self._state(trainer)

        def write() -> None:
            self.record.tell_gone_bad(self.data.values())
            line, small = self.record.add(tick, self.recipe.observe(trainer, tick))
            self.folder.save(state)
            self.record.show(line, small, self._tables())

        self.processes.from_first(write)
        self.saved_at = trainer.images_seen

    def _leave(self, trainer: T, asked: Stopping) -> None:
        """Save where a signal came and exit as the shell expects."""
        if self.saved_at != trainer.images_seen:
            state = self._state(trainer)
            self.processes.from_first(lambda: self.folder.save(state))
        if self.processes.first:
            self.folder.note(f"saved at {trainer.images_seen / 1000:g} kimg; the same command goes on")
        raise SystemExit(SHELL + asked.number)

    def _state(self, trainer: T) -> dict[str, Any]:
        """All that is needed to go on, with what the run was asked for."""
        return trainer.state_dict() | {"configuration": json.dumps(self._configuration())}

    def _tables(self) -> dict[str, dict[str, Any]]:
        """What report.html says about the run beside its curves."""
        asked = self._configuration()
        options, network = asked.pop("options"), asked.pop("network", {})
        return {
            "Options": {self.recipe.spelled(name): value for name, value in options.items()},
            "Networks": network | {name: value for name, value in asked.items() if value is not None},
            "Hardware and software": self._machine(),
            "Licences": self.recipe.licences(),
        }

    def _export(self, trainer: T) -> None:
        for name, content in self.recipe.encode_result(self.folder.path.name, trainer).items():
            write_atomic(self.folder.path / name, content)


def _configuration_of(path: Path, data: bytes) -> dict[str, Any]:
    """What the run of a state was asked for; raises InputRefused where the state is none."""
    try:
        return dict(parse_json(decode_checkpoint(data, path).get("configuration", "{}")))
    except (ValueError, TypeError) as error:
        raise InputRefused(f"{path}: damaged checkpoint; name another one with --resume") from error


class Stopping:
    """The signal that came, 0 for none. The first asks a run to save and leave, a second leaves at once."""

    def __init__(self, *, quiet: bool = False, launched: bool | None = None) -> None:
        """launched: whether torchrun started this process; None: as the environment says."""
        self.number, self.quiet, self._since = 0, quiet, 0.0
        self._launched = "TORCHELASTIC_RUN_ID" in os.environ if launched is None else launched

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Handle a signal: take note, or leave at once at a second one."""
        now = time.monotonic()
        if self.number and not (self._launched and now - self._since < REPEAT_S):
            raise SystemExit(SHELL + number)
        if not self.number and not self.quiet:
            with suppress(OSError):  # whoever read stderr may have gone
                os.write(2, NOTE)  # a handler may interrupt a print, which cannot be entered twice
        self.number, self._since = self.number or number, self._since or now


@contextmanager
def stopping(*, quiet: bool = False) -> Iterator[Stopping]:
    """Handle both signals until the end of the block; nothing is handled outside the main thread."""
    asked = Stopping(quiet=quiet)
    handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, asked.receive) for number in handled}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
