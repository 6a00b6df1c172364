"""How codes go on from frame to frame of a sequence: steps and rates from the last one, and what may be shared.

    python benchmarks/follow.py FRAMES [--json FILE]

FRAMES is a folder of frames with one face (tools/studio/sequences.py renders some). The distance is that of Eq. 4: for
steps as `project` tells it, for shared codes that of the pictures with the generator's constant noise, at the mean.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from refacer.engine import Refacer
from refacer.files.sources import list_folder
from refacer.jobs.frames import face_at
from refacer.jobs.sequence import natural
from refacer.networks.perceptual import distance
from refacer.options import FollowOptions, SequenceOptions
from refacer.stages.inversion import invert_each
from refacer.stages.project import Optimiser
from refacer.stages.tracks import Track, smoothed, smoothed_landmarks

STEPS, RATES = (10, 20, 30), (1.0, 0.5, 0.25)  # rates as shares of the pair's
SHARED = {
    "none": (0, 0),
    "4 and 8": (0, 3),
    "16 and 32": (3, 7),
    "64 and more": (7, None),
    "128 and more": (9, None),
    "256": (11, None),
}  # layers by the pictures they draw, in pixels, and their codes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    studio = Refacer(way="project", device="cpu", init="mean")
    studio.networks()
    faces = faces_of(studio, args.frames)
    report = {"by steps": by_steps(studio, faces[:2]), "by what is shared": by_shared(studio, faces)}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def faces_of(studio: Refacer, folder: Path) -> list[Tensor]:
    """The face of every frame along its smoothed track, (1, 3, S, S)."""
    paths = sorted((entry.path for entry in list_folder(folder).entries), key=lambda path: natural(path.name))
    frames = [studio.read(path) for path in paths]
    landmarks = smoothed_landmarks(Track(0, [studio.find(one)[0].landmarks for one in frames]), SequenceOptions())
    return [face_at(studio, one, points) for one, points in zip(frames, landmarks, strict=True)]


def found(studio: Refacer, face: Tensor, start: Tensor | None, **changes: Any) -> tuple[Tensor, float]:
    """The code of a face and its distance. start: the last frame's code, None for the average."""
    equipment = studio.equipment
    options = replace(equipment.project_options(), **changes)
    inverter = Optimiser(equipment.perceptual, equipment.w_std, options)
    if start is not None:
        inverter = replace(inverter, options=options.from_encoder(), start=lambda _faces, _generator: start)
    [one] = invert_each([face], equipment.rendering, inverter)
    return one.codes, round(float(one.distance), 4)


def by_steps(studio: Refacer, faces: Sequence[Tensor]) -> dict[str, Any]:
    """The second frame's distance from the average code, and from the first one's."""
    usual = studio.equipment.project_options()
    first, _ = found(studio, faces[0], None)
    report: dict[str, Any] = {f"average code, {usual.steps} steps": found(studio, faces[1], None)[1]}
    for share in RATES:
        rate = usual.lr * share
        report[f"last code, rate {rate:g}"] = {
            steps: found(studio, faces[1], first, steps=steps, lr=rate)[1] for steps in STEPS
        }
    return report


@torch.no_grad()
def by_shared(studio: Refacer, faces: Sequence[Tensor]) -> dict[str, float]:
    """The mean distance of all frames where some layers have one code for all of the track."""
    equipment, follow = studio.equipment, FollowOptions()
    usual, codes = equipment.project_options().from_neighbour(follow), []
    for face in faces:
        changes = {"steps": usual.steps, "lr": usual.lr} if codes else {}
        codes.append(found(studio, face, codes[-1] if codes else None, **changes)[0])
    steady = smoothed(torch.cat(codes), follow.code_reach, 2)
    wanted = torch.cat([equipment.perceptual.features(face) for face in faces])
    report = {}
    for name, (start, end) in SHARED.items():
        shared = steady.clone()
        shared[:, start:end] = torch.cat(codes)[:, start:end].mean(0)
        drawn = [equipment.rendering.synthesis(w, noise_mode="const") for w in shared.split(1)]
        apart = distance(torch.cat([equipment.perceptual.features(picture) for picture in drawn]), wanted)
        report[name] = round(float(apart.mean()), 4)
    return report


if __name__ == "__main__":
    main()
