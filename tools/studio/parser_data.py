"""Studio portraits and their labels for the parser: reading the zips, mending the labels, augmentation."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from refacer.images.pixels import tensor_from_rgb
from refacer.networks.landmarks import DlibLandmarks
from refacer.networks.parser import NUM_CLASSES, STUDIO_IDS
from refacer.options import AlignOptions
from refacer.stages.align import quad_from_landmarks
from refacer.types import Points

SKIN, NECK = 1, 14
ALIGNED_TOLERANCE_FRAC = 0.15  # a face found farther from the crop's centre is not the portrait's


def read_portraits(archive: Path, folder: str) -> dict[str, NDArray[np.uint8]]:
    """Every picture in `folder` of a zip, by stem: (H, W, 3) for JPEG, (H, W) for label PNGs."""
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if name.startswith(f"{folder}/") and not name.endswith("/"))
        return {Path(name).stem: np.array(Image.open(io.BytesIO(file.read(name)))) for name in names}


def mended(portrait: NDArray[np.uint8], labels: NDArray[np.uint8], finder: DlibLandmarks) -> NDArray[np.uint8] | None:
    """Labels whose chin is skin; None where no face is found.

    The renders call everything below the mouth neck, along the mesh's coarse edges. What lies inside the jaw line
    of the landmarks is the chin, or a pasted face would end under its lips.
    """
    points = portrait_landmarks(portrait, finder)
    if points is None:
        return None
    outline = Image.new("1", (labels.shape[1], labels.shape[0]))
    ImageDraw.Draw(outline).polygon([(x, y) for x, y in (*points[:17], *reversed(points[17:27]))], fill=1)
    return np.where(np.array(outline) & (labels == NECK), np.uint8(SKIN), labels)


def portrait_landmarks(portrait: NDArray[np.uint8], finder: DlibLandmarks) -> Points | None:
    """The landmarks of the one face that an aligned portrait is of, or None."""
    size = portrait.shape[0]
    for points in finder(tensor_from_rgb(portrait), AlignOptions()):
        centre = np.mean(quad_from_landmarks(points), axis=0)
        if np.hypot(*(centre - (size - 1) / 2)) < ALIGNED_TOLERANCE_FRAC * size:
            return points
    return None


def class_indices(labels: NDArray[np.uint8]) -> Tensor:
    """Label ids -> indices into STUDIO_IDS, uint8."""
    table = np.zeros(NUM_CLASSES, np.uint8)
    table[list(STUDIO_IDS)] = np.arange(len(STUDIO_IDS))
    return torch.from_numpy(table[labels])


def augmented(faces: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip, shift, scale, turn; colour, blur, noise. (N, 3, S, S) in [-1, 1] and (N, S, S) on one device."""

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(len(faces), *shape, generator=generator) * (high - low) + low).to(faces.device)

    angle, scale = draw(-0.15, 0.15), draw(0.8, 1.25)
    mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = [
        torch.stack([cosine * mirror, -sine, draw(-0.15, 0.15)], 1),
        torch.stack([sine * mirror, cosine, draw(-0.15, 0.15)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(faces.shape), align_corners=False)
    faces = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    labels = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    faces = _recoloured(_elsewhere(faces, labels, draw, generator), draw, generator)
    return faces, labels[:, 0].long()


def _elsewhere(faces: Tensor, labels: Tensor, draw, generator: torch.Generator) -> Tensor:
    """Half of the faces before another background: a random gradient, with a soft border."""
    ground = F.avg_pool2d((labels == 0).float(), 3, 1, 1, count_include_pad=False)
    coarse = torch.rand(len(faces), 3, 3, 3, generator=generator).to(faces.device) * 2 - 1
    plain = draw(-1, 1, 3, 1, 1) + coarse * draw(0, 0.7, 1, 1, 1)
    gradient = F.interpolate(plain, faces.shape[2:], mode="bilinear", align_corners=True).clamp(-1, 1)
    return torch.lerp(faces, gradient, ground * (draw(0, 1, 1, 1, 1) < 0.5))


def _recoloured(faces: Tensor, draw, generator: torch.Generator) -> Tensor:
    """Contrast, brightness, tint, saturation; then blur and noise on some."""
    grey = faces.mean(1, keepdim=True)
    faces = grey + (faces - grey) * draw(0.4, 1.5, 1, 1, 1)
    faces = (faces + 1) * draw(0.7, 1.25, 1, 1, 1) * draw(0.88, 1.12, 3, 1, 1) - 1 + draw(-0.15, 0.15, 1, 1, 1)
    small = F.interpolate(faces, scale_factor=0.5, mode="bilinear", antialias=True)
    blurred = F.interpolate(small, size=faces.shape[2:], mode="bilinear")
    faces = torch.lerp(faces, blurred, draw(-0.5, 1, 1, 1, 1).clamp(min=0))
    noise = torch.randn(faces.shape, generator=generator).to(faces.device)
    return (faces + noise * draw(-0.05, 0.08, 1, 1, 1).clamp(min=0)).clamp(-1, 1)
