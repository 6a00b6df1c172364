"""The judge: is the face in a picture a photograph or a rendering? For evaluation only; no weights come with it.

It sees the face alone (skin, brows, eyes, nose, mouth, lips), at 128², and always through a random gain, blur, noise
and JPEG, in training and in use, so that grain, sharpness and exposure tell it nothing. Its mean colour is taken out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.networks.parser import CLASS_IDS

KIND = "judge"
JUDGE_PX = 128
FACE_BOX = (0.15, 0.2, 0.85, 0.9)  # left, top, right, bottom of what is enlarged to 128², as fractions of FFHQ's crop
FACE_CLASSES = ("skin", "brows", "eyes", "nose", "mouth", "lips")

GAIN, TINT = (0.7, 1.3), (0.9, 1.1)  # of the whole picture, of each channel; about black
BLUR_SIGMA_PX = (0.1, 1.6)  # at 128²
NOISE_SIGMA = (0.0, 0.05)  # in [-1, 1]: up to 6.4 of 255, thrice the grain of the photo look
JPEG_QUALITY = (40, 95)
BLUR_RADIUS_PX = 5
VIEWS = 8  # degraded views that a verdict is the mean of


class Judge(nn.Module):
    """Strided convolutions and a mean over the face: (N, 3, 128, 128), masks (N, 1, 128, 128) -> logits (N,).

    Above 0 is a photograph.
    """

    def __init__(self, channels: Sequence[int] = (24, 40, 80, 128)) -> None:
        super().__init__()
        self.config = {"channels": list(channels)}
        inputs = (3, *channels)
        self.trunk = nn.Sequential(*(_block(inputs[i], inputs[i + 1]) for i in range(len(channels))))
        self.head = nn.Linear(channels[-1], 1)

    def forward(self, faces: Tensor, masks: Tensor) -> Tensor:
        """Logits; what lies outside the masks is not seen."""
        features = self.trunk(_without_color(faces, masks))
        weight = F.adaptive_avg_pool2d(masks, features.shape[2:]) + 1e-6
        pooled = (features * weight).sum((2, 3)) / weight.sum((2, 3))
        return self.head(pooled)[:, 0]


def face_mask(labels: Tensor) -> Tensor:
    """uint8 class ids (N, S, S) -> bool (N, 1, S, S): the parts that the judge sees."""
    ids = [identity for name in FACE_CLASSES for identity in CLASS_IDS[name]]
    return torch.isin(labels, torch.tensor(ids, dtype=labels.dtype, device=labels.device))[:, None]


def judged_size(faces: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The face's box of FFHQ crops (N, 3, S, S) and bool masks (N, 1, S, S), both at 128², as floats."""
    left, top, right, bottom = (round(fraction * faces.shape[-1]) for fraction in FACE_BOX)
    both = torch.cat([faces, masks.float()], 1)[:, :, top:bottom, left:right]
    both = F.interpolate(both, (JUDGE_PX, JUDGE_PX), mode="bilinear", antialias=True)
    return both[:, :3].clamp(-1, 1), (both[:, 3:] > 0.5).float()


def alone(faces: Tensor, masks: Tensor) -> Tensor:
    """Faces whose surroundings have the face's mean colour, so that no blur or JPEG brings the surroundings in."""
    return torch.where(masks > 0, faces, _mean_color(faces, masks))


def degraded(faces: Tensor, generator: torch.Generator) -> Tensor:
    """A random gain, blur, noise and JPEG of each face, whatever it shows: (N, 3, H, W) in [-1, 1] -> the same."""

    def draw(bounds: tuple[float, float], channels: int = 1) -> Tensor:
        low, high = bounds
        return torch.rand(len(faces), channels, 1, 1, generator=generator) * (high - low) + low

    faces = (faces + 1) * draw(GAIN) * draw(TINT, 3) - 1
    faces = _blurred(faces, draw(BLUR_SIGMA_PX)[:, 0, 0, 0])
    faces = faces + torch.randn(faces.shape, generator=generator) * draw(NOISE_SIGMA)
    qualities = draw((JPEG_QUALITY[0], JPEG_QUALITY[1]))[:, 0, 0, 0].round().int().tolist()
    return torch.cat([_jpeg(face, quality) for face, quality in zip(faces.clamp(-1, 1), qualities, strict=True)])


def photo_logits(judge: Judge, faces: Tensor, masks: Tensor, seed: int = 0) -> Tensor:
    """The judge's verdict on FFHQ crops (N, 3, S, S) with bool masks (N, 1, S, S): (N,), above 0 is a photograph."""
    return verdicts(judge, *judged_size(faces, masks), seed)


@torch.no_grad()
def verdicts(judge: Judge, faces: Tensor, masks: Tensor, seed: int = 0) -> Tensor:
    """The mean logit of VIEWS degraded views of each face at the judge's size, (N,); the degradations are the same."""
    logits = []
    for face, weight in zip(alone(faces, masks).split(1), masks.split(1), strict=True):
        views = degraded(face.expand(VIEWS, -1, -1, -1), torch.Generator().manual_seed(seed))
        logits.append(judge(views, weight.expand(VIEWS, -1, -1, -1)).mean())
    return torch.stack(logits)


def _without_color(faces: Tensor, masks: Tensor) -> Tensor:
    """Light relative to the mean of each channel over the mask, less 1; 0 outside the mask."""
    return ((faces + 1) / (_mean_color(faces, masks) + 1.05) - 1) * masks


def _mean_color(faces: Tensor, masks: Tensor) -> Tensor:
    """The mean over each mask, (N, 3, 1, 1)."""
    return (faces * masks).sum((2, 3), keepdim=True) / (masks.sum((2, 3), keepdim=True) + 1e-6)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _blurred(faces: Tensor, sigmas: Tensor) -> Tensor:
    """Each face under a Gaussian of its own (N,) sigma in pixels."""
    offsets = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1.0)
    taps = torch.exp(-0.5 * (offsets[None] / sigmas[:, None]).square())
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(faces.shape[1], 0)[:, None, None]
    planes = F.pad(faces, (BLUR_RADIUS_PX,) * 4, mode="replicate").flatten(0, 1)[None]
    across = F.conv2d(planes, taps, groups=planes.shape[1])
    return F.conv2d(across, taps.transpose(2, 3), groups=planes.shape[1])[0].view_as(faces)


def _jpeg(face: Tensor, quality: int) -> Tensor:
    """(3, H, W) -> (1, 3, H, W) as a JPEG file gives it back."""
    file = io.BytesIO()
    Image.fromarray(rgb_from_tensor(face)).save(file, "JPEG", quality=quality)
    return tensor_from_rgb(np.array(Image.open(file)))
