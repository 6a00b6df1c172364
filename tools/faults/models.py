"""Small whole files of what is read besides pictures and generators: encoders, denoisers, CLIP's words, videos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from safetensors.torch import save

from refacer.files import read_source
from refacer.files.video import Video
from refacer.finetuning.rules.nada import ABOUT, TENSOR, read_direction
from refacer.networks.clip_tokens import Tokens
from refacer.networks.diffusion import Denoiser, DiffusionConfig
from refacer.weights.convert import convert
from refacer.weights.denoisers import DENOISER_FILE, DIFFUSERS_WEIGHTS, encode_denoiser, open_model
from tests.networks.test_clip import MERGES
from tests.tiny import tiny_generator
from tests.weights import writers
from tools.faults.pictures import MAX_PIXELS, Specimen

CPU = torch.device("cpu")
TOKENS = 16
"""Of the direction's network."""

CLIPS = {"mp4": ("libx264", "yuv420p"), "mov": ("prores_ks", "yuv422p10le"), "webm": ("libvpx-vp9", "yuv420p")}
"""Encoders and layouts of the videos."""


def models() -> Iterator[Specimen]:
    """One of each kind; those of diffusers where it is installed."""
    for kind in ("psp", "restyle-e4e"):
        content = writers.encoder(kind, tiny_generator(img_resolution=16, channel_base=64), n_iters_per_batch=2)
        yield Specimen(f"encoders, {kind}", ".pt", writers.torch_file(content), convert)
    yield Specimen("words of CLIP", ".merges.txt", "\n".join(MERGES).encode(), _read_words)
    direction = save({TENSOR: torch.ones(TOKENS)}, metadata={ABOUT: "{}"})
    yield Specimen("direction", ".direction.safetensors", direction, lambda path: read_direction(path, None, TOKENS))
    own = encode_denoiser(Denoiser(DiffusionConfig(16, (8, 16), 8)), {"licence": "CC0-1.0", "commercial": "yes"})
    yield _part_of_model("denoiser", DENOISER_FILE, own)
    if find_spec("diffusers"):
        files = _of_diffusers()
        for kind, name in (("model", "unet/config.json"), ("noise", "scheduler/scheduler_config.json")):
            yield _part_of_model(f"diffusers, {kind}", name, files)
        yield _part_of_model("diffusers, weights", f"unet/{DIFFUSERS_WEIGHTS}", files)
        yield _part_of_model("diffusers, codec", "vqvae/config.json", files)


def videos() -> Iterator[Specimen]:
    """Four frames in each of some containers."""
    for suffix, (codec, layout) in CLIPS.items():
        yield Specimen(f"video, {suffix}", f".{suffix}", _clip(suffix, codec, layout), _read_video)


def beside(path: Path, name: str, others: Mapping[str, bytes]) -> Path:
    """A folder with the file under the name that it has there, and with other files beside it."""
    folder = path.with_name(f"{path.name}.folder")
    for file, data in {**others, name: path.read_bytes()}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    return folder


def _part_of_model(kind: str, name: str, files: Mapping[str, bytes]) -> Specimen:
    suffix = f".{name.replace('/', '.')}"
    return Specimen(kind, suffix, files[name], lambda path: open_model(beside(path, name, files), CPU))


def _of_diffusers() -> dict[str, bytes]:
    """A tiny model of latents as the library writes it."""
    from diffusers import DDPMScheduler, UNet2DModel, VQModel  # type: ignore[import-not-found]

    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    down, up = ("DownBlock2D",) * 2, ("UpBlock2D",) * 2
    unet = UNet2DModel(8, 3, 3, down_block_types=down, up_block_types=up, attention_head_dim=4, **sizes)
    coders = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    codec = VQModel(num_vq_embeddings=8, **coders, **sizes)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for part, name in ((unet, "unet"), (codec, "vqvae"), (DDPMScheduler(), "scheduler")):
            part.save_pretrained(folder / name)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _clip(suffix: str, codec: str, layout: str) -> bytes:
    """The same bytes at every call."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / f"clip.{suffix}"
        with av.open(str(path), "w", options={"fflags": "+bitexact"}) as out:
            stream: Any = out.add_stream(codec, rate=10, width=48, height=48, pix_fmt=layout)
            stream.codec_context.thread_count = 1
            for shade in (0, 60, 120, 180):
                pixels = np.full((48, 48, 3), shade, np.uint8)
                pixels[:, 24:] += np.arange(24, dtype=np.uint8)[:, None]
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode(None))
        return path.read_bytes()


def _read_video(path: Path) -> object:
    video = Video(path)
    for frame in video.frames():
        read_source(frame, max_pixels=MAX_PIXELS)
    video.check(path.with_name("made.mkv"))
    return video.lacking


def _read_words(path: Path) -> object:
    return Tokens(path.read_bytes().decode("utf-8", "replace").splitlines()).encode("a photo of a cat")
