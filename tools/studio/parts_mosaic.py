"""What a discriminator of eyes and mouth sees: both eyes side by side over the mouth, in one square picture."""

from __future__ import annotations

import torch
from torch import Tensor

from refacer.networks.face_parts import parts
from refacer.options import PART_CENTRES


def mosaic(images: Tensor) -> Tensor:
    """Aligned faces (N, 3, R, R) to (N, 3, R / 2, R / 2): left eye, right eye, mouth, grey.

    Eyes and mouth are a few per cent of a face, which a discriminator of all of it hardly counts (GFPGAN, Wang et al.
    2021, Sec. 3.4, has one for each). Here one sees them together, since eyes must be a pair.
    """
    left, right, mouth = parts(images).chunk(len(PART_CENTRES))
    return torch.cat([torch.cat([left, right], 3), torch.cat([mouth, torch.zeros_like(mouth)], 3)], 2)
