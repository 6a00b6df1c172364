"""Small videos as tests need them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

TICK = Fraction(1, 1000)
TIMES = (0, 100, 150, 300, 400, 450)
"""In ticks, at no regular rate."""


def make_clip(
    path: Path,
    frames: Sequence[Any],
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    sound: str | None = "flac",
    **tags: int,
) -> Path:
    """A video of (H, W, 3) uint8 frames at TIMES, with a tone. tags: of its codec, and `rotation`."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=10, options={"crf": "4"} if codec == "libx264" else {})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.codec_context.time_base = pix_fmt, TICK
        if rotation := tags.pop("rotation", 0):
            video.set_display_rotation(rotation)
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        audio: Any = out.add_stream(sound, rate=44100, layout="mono") if sound else None
        for time, pixels in zip(TIMES, frames, strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=tags.get("colorspace"), dst_color_range=tags.get("color_range")
            )
            frame.pts, frame.time_base = time, TICK
            out.mux(video.encode(frame))
        for number in range(12) if audio else ():
            tone = (8000 * np.sin(np.arange(1024) / 20)).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            samples.rate, samples.pts = 44100, 1024 * number
            out.mux(audio.encode(samples))
        out.mux(video.encode(None))
        out.mux(audio.encode(None) if audio else [])
    return path


def seen_in(path: Path) -> list[Any]:
    """The frames as they are stored, (H, W, 3) uint8."""
    with av.open(str(path)) as clip:
        return [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]


def told_by(path: Path) -> dict[str, Any]:
    """What a video says besides its pixels: times, rotation, colour, and all packets of its sound."""
    names = ("pix_fmt", "color_range", "color_primaries", "color_trc", "colorspace")
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        frames = [(float(frame.time or 0), frame.rotation) for frame in clip.decode(stream)]
        told = {name: getattr(stream.codec_context, name) for name in names}
        sound = clip.streams.audio
    with av.open(str(path)) as clip:
        packets = [bytes(packet) for packet in clip.demux(audio=0) if packet.dts is not None] if sound else []
    return {**told, "frames": frames, "codec": stream.codec_context.name, "sound": packets}
