"""`refacer run talk.mp4 -o talk.real.mp4`: the frames of a video as a sequence, and a video of them again.

Frames lie in a folder beside the output until the video is written, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from refacer import console
from refacer.engine import Refacer
from refacer.errors import InputRefused, UsageError
from refacer.files import read_source, write_atomic
from refacer.files.samples import Native
from refacer.files.video import FORMATS, Video, is_video
from refacer.jobs.run import main as run_frames
from refacer.jobs.sequence import require_steadiness
from refacer.options import Call

DIGITS = 6


def has_video(inputs: Sequence[Path] | None) -> bool:
    """Whether a video is among the inputs."""
    return any(is_video(path) and not path.is_dir() for path in inputs or ())


def main(inputs: Sequence[Path], call: Call, keep_stages: Path | None, *, identity: bool) -> None:
    """Treat a video. Raises what its frames raise; UsageError for several, or for an output that is no video.

    What of a video cut short could be read is written, then InputRefused raised.
    """
    target, video = _planned(inputs, call), Video(inputs[0])
    require_steadiness(Refacer.of(call))
    video.check(target)
    folder = target.with_name(f"{target.name}.frames")
    count = 0
    for count, data in enumerate(video.frames(), 1):
        write_atomic(folder / "in" / f"{count:0{DIGITS}}.png", data)
    if not call.files.quiet:
        console.note(f"{video.path}: {count} frames, in {folder} until {target.name} is written")
    files = replace(call.files, output=f"{folder / 'out'}/")
    run_frames([folder / "in"], replace(call, files=files), keep_stages, identity=identity, sequence=True)
    video.write(target, _pictures(folder / "out", count, call.choices.max_pixels))
    shutil.rmtree(folder)
    if not call.files.quiet:
        console.note(f"{target}: written")
    if video.lacking:
        raise InputRefused(f"{video.path}: {video.lacking}; {target} holds these")


def _planned(inputs: Sequence[Path], call: Call) -> Path:
    """The video that is written."""
    if len(inputs) > 1:
        raise UsageError("a video goes alone: name one, and one video with -o")
    if call.cluster:
        raise UsageError("a video is one sequence, which one machine works on; leave out --cluster")
    target = Path(call.files.output or "-")
    if target.suffix.lower() not in FORMATS:
        raise UsageError(f"-o {target}: the result is a video; name one ({' '.join(FORMATS)})")
    if target.resolve() == inputs[0].resolve():
        raise UsageError(f"{target}: is the input and would be overwritten; choose another name with -o")
    return target


def _pictures(folder: Path, count: int, max_pixels: int) -> Iterator[Native]:
    """The finished frames."""
    for number in range(1, count + 1):
        yield read_source(folder / f"{number:0{DIGITS}}.png", max_pixels=max_pixels).native
