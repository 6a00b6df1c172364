"""Codes as other programs save them with PyTorch: a tensor, a list of tensors, or a dict with one that is called so.

Projectors write `latent` or `w`; StyleGAN2's in PyTorch a dict by picture, each with its `latent`.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from refacer.errors import InputRefused
from refacer.files.artefacts import Latents
from refacer.files.codes import ZIP_MAGIC, StoredCodes, encode_codes
from refacer.files.streams import open_seekable, shown
from refacer.files.urls import as_path, is_url
from refacer.types import Codes
from refacer.weights.formats.containers import read_content, refusing
from refacer.weights.formats.inert import LazyTensor, NumpyArray

NAMES = ("w", "ws", "w_plus", "wplus", "latent", "latents", "latent_code", "codes", "projected_w")
"""What a dict calls its codes, the likeliest first."""

ADVICE = "save the codes alone: numpy.save('codes.npy', codes.cpu().numpy())"
MAX_CODES = 100_000


def read_latents(codes: str | Path | bytes | Codes | Latents) -> Latents:
    """Codes from an array, or from a `.npy`, `.npz` or PyTorch file, which is read without running anything in it.

    Raises as `StoredCodes` does; InputRefused, too, for a PyTorch file of which nobody can tell what its codes are.
    """
    source = as_path(codes) if isinstance(codes, str) else codes
    if not (isinstance(source, Path | bytes) or is_url(source)):
        return Latents.read(source)
    return Latents.of(open_latents(open_seekable(source), shown(source)))


def open_latents(stream: BinaryIO, name: str) -> StoredCodes:
    """The same of a stream that can be sought in, each code read when it is asked for; a PyTorch file is read whole."""
    head = stream.read(512)
    stream.seek(0)
    if not _is_torch(head):
        return StoredCodes(stream, name)
    with stream, refusing(Path(name)):
        values = _codes(read_content(memoryview(stream.read()))).float().numpy()
    return StoredCodes(BytesIO(encode_codes(values, None)), name)


def _is_torch(head: bytes) -> bool:
    """Whether the bytes begin as a pickle does, or are a zip of PyTorch's."""
    return head[:1] == b"\x80" or (head.startswith(ZIP_MAGIC) and b"/data.pkl" in head)


def _codes(content: Any) -> Tensor:
    """The codes in a file's inert content."""
    if isinstance(content, LazyTensor | NumpyArray):
        return _tensor(content)
    if isinstance(content, list | tuple):
        return _stacked([_codes(value) for value in _few(content)])
    if isinstance(content, dict):
        named = next((name for name in NAMES if name in content), None)
        if named is not None:
            return _codes(content[named])
        if len(content) == 1 or (content and all(isinstance(value, dict) for value in content.values())):
            return _stacked([_codes(value) for value in _few(list(content.values()))])
        held = ", ".join(str(name)[:40] for name in list(content)[:8])
        raise InputRefused(f"a PyTorch file with {held}, none of them called w or latent; {ADVICE}")
    raise InputRefused(f"a PyTorch file that holds no codes but a {type(content).__name__}; {ADVICE}")


def _tensor(value: LazyTensor | NumpyArray) -> Tensor:
    """A tensor of floating point numbers, read."""
    lazy = value.lazy if isinstance(value, NumpyArray) else value
    if lazy is None or not lazy.storage.dtype.is_floating_point:
        raise InputRefused(f"a PyTorch file whose codes are no floating point numbers; {ADVICE}")
    return lazy.tensor()


def _few(values: Any) -> Any:
    """The values, once they are known not to be endless."""
    if not 0 < len(values) <= MAX_CODES:
        raise InputRefused(f"a PyTorch file with {len(values)} codes; {ADVICE}")
    return values


def _stacked(parts: list[Tensor]) -> Tensor:
    """Codes of (num_ws, w_dim) or (N, num_ws, w_dim) each, behind one another; an only one stays as it is."""
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[-2:] for part in parts}) != 1 or len({part.ndim for part in parts}) != 1 or parts[0].ndim > 3:
        raise InputRefused(f"a PyTorch file with codes of several shapes; {ADVICE}")
    if parts[0].ndim == 1:  # of W: one number a layer's width, the same for all layers
        return torch.stack(parts)[:, None]
    return torch.cat([part if part.ndim == 3 else part[None] for part in parts])
