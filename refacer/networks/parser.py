"""Face parsers: 19 classes of CelebAMask-HQ, in BiSeNet's order whatever the network's own.

The published networks take 512² pixels, bilinear: BiSeNet with ImageNet's normalisation, ParseNet with mean and
deviation 0.5. Of their outputs the first counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_CLASSES = 19

CLASS_IDS: dict[str, tuple[int, ...]] = {
    "background": (0,),
    "skin": (1,),
    "brows": (2, 3),
    "eyes": (4, 5),
    "eyeglasses": (6,),
    "ears": (7, 8),
    "earring": (9,),
    "nose": (10,),
    "mouth": (11,),
    "lips": (12, 13),
    "neck": (14,),
    "necklace": (15,),
    "cloth": (16,),
    "hair": (17,),
    "hat": (18,),
}
"""Class name -> ids in BiSeNet's order; left comes before right, upper before lower."""

PARSENET_IDS = (0, 1, 6, 7, 4, 5, 3, 8, 9, 15, 2, 10, 11, 12, 17, 16, 18, 13, 14)
"""ParseNet's id of each class in BiSeNet's order: published labels of the two networks are numbered differently."""

STUDIO_IDS = (0, 1, 2, 4, 7, 10, 11, 12, 13, 14, 16, 17)
"""What the studio renders' labels know: left and right share the left one's id; no glasses, jewellery or hats."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PUBLISHED_PX = 512
ABSENT_LOGIT = -30.0


class FaceParser(Protocol):
    """Labels the parts of aligned faces."""

    def __call__(self, faces: Tensor, /) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> logits (N, 19, S, S) in BiSeNet's order."""
        ...


class BiSeNetParser(nn.Module):
    """BiSeNet of face-parsing.PyTorch, as facexlib builds it.

    state: the published state dict, verified by the caller; nothing is downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        from facexlib.parsing.bisenet import BiSeNet  # here: a bare machine without facexlib can import this module

        self.network: nn.Module = BiSeNet(NUM_CLASSES)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        _frozen(self, self.network, state)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> logits (N, 19, S, S)."""
        pictures = ((_resized(faces, PUBLISHED_PX) + 1) / 2 - self.mean) / self.std
        return _resized(self.network(pictures)[0], faces.shape[2])


class ParseNetParser(nn.Module):
    """ParseNet of facexlib, its classes brought into BiSeNet's order."""

    order: Tensor

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        from facexlib.parsing.parsenet import ParseNet

        self.network: nn.Module = ParseNet(in_size=PUBLISHED_PX, out_size=PUBLISHED_PX, parsing_ch=NUM_CLASSES)
        self.register_buffer("order", torch.tensor(PARSENET_IDS), persistent=False)
        _frozen(self, self.network, state)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> logits (N, 19, S, S)."""
        logits = self.network(_resized(faces, PUBLISHED_PX))[0]
        return _resized(logits.index_select(1, self.order), faces.shape[2])


class StudioParser(nn.Module):
    """A small U-Net for the studio pair's 256² faces, trained by tools/studio/train_parser.py.

    It works on patches of `patch_px`², so that all but the last convolution run at 64² or less. Its labels merge left
    and right (STUDIO_IDS); the other classes get a logit that never wins.
    """

    ids: Tensor

    def __init__(self, channels: Sequence[int] = (32, 64, 96, 128), image_px: int = 256, patch_px: int = 4) -> None:
        super().__init__()
        self.image_px, self.patch_px = image_px, patch_px
        self.config = {"channels": list(channels), "image_px": image_px, "patch_px": patch_px}
        inputs = (3 * patch_px**2, *channels)
        self.down = nn.ModuleList(_convolutions(inputs[i], inputs[i + 1]) for i in range(len(channels)))
        self.up = nn.ModuleList(
            _convolutions(channels[i] + channels[i + 1], channels[i]) for i in reversed(range(len(channels) - 1))
        )
        self.head = nn.Conv2d(channels[0], len(STUDIO_IDS) * patch_px**2, 1)
        self.smooth = nn.Conv2d(len(STUDIO_IDS), len(STUDIO_IDS), 3, padding=1)  # across the patches' borders
        self.register_buffer("ids", torch.tensor(STUDIO_IDS), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> logits (N, 19, S, S)."""
        known = self.studio_logits(_resized(faces, self.image_px))
        logits = known.new_full((len(known), NUM_CLASSES, *known.shape[2:]), ABSENT_LOGIT)
        return _resized(logits.index_copy(1, self.ids, known), faces.shape[2])

    def studio_logits(self, faces: Tensor) -> Tensor:
        """(N, 3, image_px, image_px) -> logits (N, 12, image_px, image_px) of STUDIO_IDS; what training sees."""
        features = F.pixel_unshuffle(faces, self.patch_px)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if level else features)
            skips.append(features)
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            wider = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = block(torch.cat([wider, skip], dim=1))
        return self.smooth(F.pixel_shuffle(self.head(features), self.patch_px))


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and ReLU: `inputs` to `outputs` channels."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _frozen(parser: nn.Module, network: nn.Module, state: Mapping[str, Tensor] | None) -> None:
    """Fill a published network, strictly, and take it out of training."""
    if state is not None:
        network.load_state_dict(dict(state))
    parser.eval().requires_grad_(False)


def _resized(maps: Tensor, size: int) -> Tensor:
    """Square maps (N, C, S, S) at another size: bilinear, antialiased where they shrink."""
    if maps.shape[2] == size and maps.shape[3] == size:
        return maps
    return F.interpolate(maps, (size, size), mode="bilinear", align_corners=False, antialias=size < maps.shape[2])
