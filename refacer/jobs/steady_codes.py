"""Codes along a face's way: each frame starts from the last one's, then all are made steady.

What was found is kept beside the output until all frames are written, so that the same command goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refacer.engine import Refacer
from refacer.errors import RefacerError, UsageError
from refacer.files import read_bytes, write_atomic
from refacer.inverters.method import chosen_method
from refacer.inverters.optimise import Optimise
from refacer.jobs.frames import Frames
from refacer.jobs.steady import Steady, Way, soft_masks, without_gaps
from refacer.options import FollowOptions, SequenceOptions
from refacer.stages.inversion import Inversion, invert_each
from refacer.stages.parse import mask_from_labels, parse
from refacer.stages.pipeline import decoded
from refacer.stages.tracks import smoothed_codes

FOLDER, SUFFIX = ".sequence", ".code"


def following(studio: Refacer) -> Optimise:
    """The inverter, as far as it can start from the last frame's code; raises UsageError for another one."""
    method = chosen_method(studio.equipment)
    if not isinstance(method, Optimise):
        told = f"--sequence: {method.name} finds the code of each frame for itself"
        raise UsageError(f"{told}; use --inverter optimise, or --way translate")
    return method


class FoundCodes:
    """Codes that were found, in files. folder: of the output, None to keep nothing; made: what decides the codes."""

    def __init__(self, folder: Path | None, made: str) -> None:
        self._folder = folder and folder / FOLDER
        self._made = hashlib.sha256(made.encode()).hexdigest()[:16]

    def read(self, way: int, frame: int, shape: tuple[int, ...]) -> Inversion | None:
        """The code of a face in a frame, (1, *shape); None where it has not been found."""
        if self._folder is None:
            return None
        try:
            values = np.frombuffer(read_bytes(self._path(self._folder, way, frame)), np.float32)
        except (RefacerError, ValueError):
            return None
        if len(values) != 1 + np.prod(shape) or not np.isfinite(values).all():
            return None
        values = torch.from_numpy(values.copy())
        return Inversion(values[1:].reshape(1, *shape), values[:1])

    def keep(self, way: int, frame: int, found: Inversion) -> None:
        """Write a code down."""
        if self._folder is not None:
            values = torch.cat([found.distance, found.codes.flatten()]).float().cpu().numpy()
            write_atomic(self._path(self._folder, way, frame), values.tobytes())

    @property
    def are_there(self) -> bool:
        """Whether any are kept."""
        return self._folder is not None and self._folder.is_dir()

    def clear(self) -> None:
        """Nothing is needed any more; what else lies there stays."""
        for path in self._folder.glob(f"*{SUFFIX}") if self._folder else ():
            path.unlink(missing_ok=True)
        with suppress(OSError):
            if self._folder:
                self._folder.rmdir()

    def _path(self, folder: Path, way: int, frame: int) -> Path:
        return folder / f"{self._made}-{way}-{frame}{SUFFIX}"


class CodesAlong:
    """The codes of all faces along their ways. tell: says a line."""

    def __init__(self, frames: Frames, kept: FoundCodes, follow: FollowOptions, tell: Callable[[str], None]) -> None:
        self._frames, self._kept, self._follow, self._tell = frames, kept, follow, tell
        self._done = self._due = 0

    def steady(self, ways: Sequence[Way], options: SequenceOptions) -> list[Steady]:
        """Each face with its codes, smoothed, and the masks of what they draw."""
        self._due = sum(len(way.landmarks) for way in ways)
        chains = self._frames.each(lambda k: self._chain(k, ways[k]), range(len(ways)))
        found = []
        for way, chain in zip(ways, chains, strict=True):
            if known := without_gaps(chain):
                codes = smoothed_codes(torch.cat([one.codes for one in known]), self._follow)
                masks = soft_masks(self._frames.each(self._mask, codes.split(1)), options)
                found.append(Steady(way, masks, float(np.median([float(one.distance) for one in known])), codes=codes))
        return found

    def _chain(self, number: int, way: Way) -> list[Inversion | None]:
        """The code in every frame of a way, each from the last one's; None before the first frame that can be read."""
        equipment = self._frames.studio.equipment
        shape = equipment.rendering.num_ws, equipment.rendering.w_dim
        found: list[Inversion | None] = []
        for t, i in enumerate(way.track.frames):
            last = found[-1] if found else None
            one = self._kept.read(number, i, shape)
            if one is None and (source := self._frames.source(i)) is not None:
                one = self._inverted(self._frames.face(source, way.landmarks[t]), last)
                self._kept.keep(number, i, one)
            found.append(one or last)
            self._count()
        return found

    def _inverted(self, face: Tensor, last: Inversion | None) -> Inversion:
        """One code. last: the one before it."""
        equipment, method = self._frames.studio.equipment, following(self._frames.studio)
        inverter = method.follower(last.codes.to(equipment.device), self._follow) if last else method.inverter()
        [found] = invert_each([face], equipment.rendering, inverter)
        return Inversion(found.codes.float().cpu(), found.distance.float().cpu())

    @torch.no_grad()
    def _mask(self, codes: Tensor) -> Tensor | None:
        """The parts of a code's picture that are pasted."""
        studio = self._frames.studio
        if studio.choices.mask != "auto":
            return None
        options, generator = studio.equipment.options, studio.equipment.drawing_generator()
        drawn = decoded(codes.to(studio.equipment.device), generator, options.decode)
        return mask_from_labels(parse(drawn, studio.equipment.parser), options.parse.classes).cpu()

    def _count(self) -> None:
        """Say every tenth."""
        self._done += 1
        if self._done * 10 // self._due > (self._done - 1) * 10 // self._due:
            self._tell(f"--sequence: {self._done} of {self._due} codes")
