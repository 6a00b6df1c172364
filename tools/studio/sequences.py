"""Render short sequences of one avatar with Blender's Cycles, as render.py renders single pictures.

  python sequences.py OUT --assets DATA --faceunits UNITS [--motions turn,talk] [--first 9000] [--frames 24]

turn: a turntable, the camera from one side to the other; talk: the mouth speaks, the eyes blink once, the head sways.
OUT/turn/turn_000.png and so on, head and shoulders in the cg look.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from avatar import Body, draw_expression, draw_person
from render import Studio, Vector, background, composite, to_blender

WIDTH, HEIGHT = 360, 480
FRAMED_M, DISTANCE_M = 0.95, 4.5  # height of what is seen, and from where
TURN_DEG, SWAY_DEG = 28.0, 4.0
SYLLABLES = 3.5  # of the whole sequence
BLINK_AT, BLINK_LASTS = 0.6, 0.07  # as shares of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--faceunits", type=Path, required=True)
    parser.add_argument("--motions", default="turn,talk")
    parser.add_argument("--first", type=int, default=9000, help="the first motion's person; the next has the next")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--samples", type=int, default=16)
    args = parser.parse_args()
    studio = Studio(args.assets, args.faceunits)
    for person, motion in enumerate(args.motions.split(","), args.first):
        (args.out / motion).mkdir(parents=True, exist_ok=True)
        for i in range(args.frames):
            path = args.out / motion / f"{motion}_{i:03}.png"
            if not path.exists():
                picture = frame(studio, person, motion, i / max(args.frames - 1, 1), args.samples)
                cv2.imwrite(str(path), picture[..., ::-1])
                print(path, flush=True)


def frame(studio: Studio, person: int, motion: str, when: float, samples: int) -> np.ndarray:
    """One picture (H, W, 3) uint8; when: 0 at the sequence's start, 1 at its end."""
    p, seed = draw_person(person, studio.data), ("display", person)
    studio.clear_people()
    yaw = TURN_DEG * (2 * when - 1) if motion == "turn" else SWAY_DEG * np.sin(2 * np.pi * when)
    spoken = speech(when) if motion == "talk" else {}
    verts, things = studio.pose(p, {**draw_expression(person * 100 + 7), **spoken}, dressed=True)
    top = to_blender(verts[: Body.SKIN_VERTICES])[:, 2].max() + 0.03
    centre = Vector((0, 0, top - 0.4 * FRAMED_M))
    studio.camera(centre, DISTANCE_M, float(yaw), 0.0, FRAMED_M)
    studio.shade(p, things, "cg")
    studio.light(seed, "cg", Vector((0, 0, top - 0.25)), 1.0)
    shot = studio.shoot("cg", WIDTH, HEIGHT, samples)
    return np.clip(composite(shot, background(seed, "cg", HEIGHT, WIDTH)), 0, 255).astype(np.uint8)


def speech(when: float) -> dict[str, float]:
    """The face units of speaking, at a moment in [0, 1]."""
    opened = 0.5 - 0.5 * np.cos(2 * np.pi * SYLLABLES * when)
    rounded = 0.5 - 0.5 * np.cos(2 * np.pi * SYLLABLES * when / 2 + 1)
    shut = float(np.exp(-(((when - BLINK_AT) / BLINK_LASTS) ** 2)))
    units = {"jawOpen": 0.45 * opened, "mouthFunnel": 0.5 * rounded * opened, "mouthLowerDownLeft": 0.3 * opened,
             "mouthLowerDownRight": 0.3 * opened, "eyeBlinkLeft": shut, "eyeBlinkRight": shut}  # fmt: skip
    return {f"unit/{name}": float(value) for name, value in units.items()}


if __name__ == "__main__":
    main()
