"""Video files by PyAV, an optional extra: frames upright and in their own depth, and back with sound, times and colour.

Frames keep their times, also where these are not regular. A rotation that players apply is applied to the frames, taken
back when they are written, and told again. What is lossy in the source is encoded anew, with little loss.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refacer.errors import InputRefused, OutputNotWritable, UsageError
from refacer.files import png
from refacer.files.deep import encode_deep_png
from refacer.files.encoding import encode_png
from refacer.files.samples import Native
from refacer.files.streams import replacing

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Containers by suffix; one must know a time for each frame."""

ENCODERS = {
    "h264": ("libx264", {"crf": "16"}),
    "hevc": ("libx265", {"crf": "18", "x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", {"crf": "20", "b": "0"}),
    "av1": ("libsvtav1", {"crf": "20"}),
    "prores": ("prores_ks", {}),
    "mjpeg": ("mjpeg", {"q": "2"}),
    "ffv1": ("ffv1", {}),
}
"""What encodes as a source is encoded, and how finely; everything else is encoded as H.264."""

WIDE = {9, 11, 12}
"""Primaries wider than sRGB's (ITU-T H.273): BT.2020, DCI-P3, Display P3."""

BRIGHT = {16, 18}
"""Transfers of high dynamic range: PQ and HLG. Those of other videos are shown as sRGB is."""

SRGB_TRANSFER, UNSPECIFIED, BT709, BT601, HD_PX = 13, 2, 1, 5, 720


def is_video(path: Path) -> bool:
    """Whether a name is that of a video file."""
    return path.suffix.lower() in FORMATS


@dataclass
class Video:
    """A video file that is read. Raises UsageError where PyAV is missing, InputRefused for what holds no video.

    times, durations: of the frames read so far, in ticks; rotation: degrees by which they were turned, against the
    clock; lacking: what of the video could not be read, None where all could.
    """

    path: Path
    times: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    rotation: int = 0
    lacking: str | None = None

    def __post_init__(self) -> None:
        if find_spec("av") is None:
            told = "needs PyAV, which is not installed; run `pip install 'refacer[video]'`, or give its frames"
            raise UsageError(f"{self.path}: a video {told}")
        with self.opened():
            pass

    @contextmanager
    def opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The file and its first video."""
        import av
        from av.error import FFmpegError

        try:
            container = av.open(str(self.path), metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            raise InputRefused(f"{self.path}: no video that can be read, or one cut short") from error
        with container:
            if not container.streams.video:
                raise InputRefused(f"{self.path}: holds no video")
            yield container, container.streams.video[0]

    def frames(self) -> Iterator[bytes]:
        """Every frame as a PNG, upright, of 16 bits where it has more than 8. What cannot be read is in `lacking`."""
        from av.error import FFmpegError

        self.times, self.durations, damaged = [], [], 0
        with self.opened() as (container, stream):
            for packet in container.demux(stream):
                damaged += packet.is_corrupt
                try:
                    frames = packet.decode()
                except FFmpegError:
                    damaged += 1
                    continue
                for frame in frames:
                    self.times.append(_ticks(frame, self.times))
                    self.durations.append(frame.duration or 0)
                    self.rotation = frame.rotation
                    yield _as_png(frame)
        if not self.times:
            raise InputRefused(f"{self.path}: none of its frames can be read")
        if damaged or self._ends_early():
            self.lacking = f"cut short or damaged: {len(self.times)} frames could be read"

    def check(self, target: Path) -> None:
        """Raise OutputNotWritable where a file of this name cannot hold what the video holds: before the work."""
        with self._writing(target), self.opened() as (container, stream):
            _streams_like(container, stream, BytesIO(), FORMATS[target.suffix.lower()], 0)[0].close()

    def write(self, target: Path, pictures: Iterable[Native]) -> None:
        """Write frames, upright (H, W, 3), in place of those read, with all sound and subtitles; whole or not at all.

        Raises OutputNotWritable.
        """
        with self._writing(target), self.opened() as (container, stream), replacing(target) as file:
            made = _streams_like(container, stream, file, FORMATS[target.suffix.lower()], self.rotation)
            with made[0]:
                frames = zip(self.times, self.durations, pictures, strict=True)
                _write(container, stream, made, frames, self.rotation)

    @contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        from av.error import FFmpegError

        try:
            yield
        except (FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputNotWritable(f"{target}: cannot be written ({reason}); choose another name with -o") from error

    def _ends_early(self) -> bool:
        """Whether the last frame comes much before the end that the file's head tells."""
        with self.opened() as (container, stream):
            told_s = _told_end_s(container, stream)
            between = max(later - time for time, later in pairwise(self.times)) if len(self.times) > 1 else 0
            return told_s is not None and (self.times[-1] + 2 * between) * float(stream.time_base or 0) < told_s


def _told_end_s(container: InputContainer, stream: VideoStream) -> float | None:
    """When the video should end: as its stream says, or the file, where it holds nothing else; None where none does."""
    if stream.duration and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    if told := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):  # Matroska's way
        return 3600 * int(told[1]) + 60 * int(told[2]) + float(told[3])
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6
    return None


def _ticks(frame: Any, before: Sequence[int]) -> int:
    """A frame's time; one that has none, or one of before, comes a tick after the last."""
    least = before[-1] + 1 if before else None
    time = frame.pts if frame.pts is not None else (least or 0)
    return time if least is None else max(time, least)


def _as_png(frame: Any) -> bytes:
    deep = max(component.bits for component in frame.format.components) > 8
    matrix = _matrix(frame.colorspace, frame.height)
    rgb = frame.reformat(
        format="rgb48le" if deep else "rgb24", src_colorspace=matrix, src_color_range=frame.color_range
    ).to_ndarray()
    pixels = np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90))
    data = encode_deep_png(pixels) if deep else encode_png(pixels, None)
    if frame.color_trc not in BRIGHT and frame.color_primaries not in WIDE:
        return data
    transfer = frame.color_trc if frame.color_trc in BRIGHT else SRGB_TRANSFER
    return png.splice(data, [(b"cICP", bytes([frame.color_primaries, transfer, 0, 1]))])


def _matrix(told: int, height: int) -> int:
    """The matrix between RGB and YUV; where it is not told, the one that players take for such a size."""
    if told not in (UNSPECIFIED, 0):
        return told
    return BT709 if height >= HD_PX else BT601


Frames = Iterator[tuple[int, int, Native]]
"""Time, duration and pixels, (H, W, 3), upright."""

Streams = tuple["OutputContainer", Any, "dict[int, Any]"]
"""A file, its video, and what is copied by the number it has in the source."""


def _write(container: InputContainer, stream: VideoStream, made: Streams, frames: Frames, rotation: int) -> None:
    """All of the file: what is not the video as it is, in turn with the frames."""
    out, encoded, copies = made
    waiting = next(frames, None)

    def encode_until(end_s: float) -> None:
        nonlocal waiting
        while waiting and float(waiting[0] * (stream.time_base or 0)) <= end_s:
            out.mux(encoded.encode(_as_frame(waiting, stream, encoded, rotation)))
            waiting = next(frames, None)

    copied = [container.streams[index] for index in copies]
    for packet in container.demux(copied) if copied else ():
        if packet.dts is not None:
            encode_until(float(packet.dts * packet.time_base))
            packet.stream = copies[packet.stream.index]
            out.mux(packet)
    encode_until(float("inf"))
    out.mux(encoded.encode(None))


def _streams_like(container: InputContainer, stream: VideoStream, file: Any, kind: str, rotation: int) -> Streams:
    """A file with a stream that is encoded as the source's, and its sound and subtitles."""
    import av

    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder tells errors alone
    out = av.open(file, "w", format=kind)
    encoded = _stream_like(stream, out, rotation)
    others = [one for one in container.streams if one.type in ("audio", "subtitle")]
    copies = {one.index: out.add_stream_from_template(one) for one in others}
    out.metadata.update({**container.metadata, "comment": "composited with generated media by refacer"})
    return out, encoded, copies


def _stream_like(stream: VideoStream, out: OutputContainer, rotation: int) -> Any:
    """A stream that is encoded as the source's."""
    from av.codec import Codec

    source = stream.codec_context
    name, options = ENCODERS.get(source.codec.canonical_name, ENCODERS["h264"])
    encoded: Any = out.add_stream(name, rate=stream.average_rate or Fraction(25), options=dict(options))
    encoded.width, encoded.height = source.width, source.height
    known = [one.name for one in Codec(name, "w").video_formats or ()]
    deep = source.format is not None and max(component.bits for component in source.format.components) > 8
    usual = "yuv420p10le" if deep and "yuv420p10le" in known else "yuv420p"
    encoded.pix_fmt = source.pix_fmt if source.pix_fmt in known or not known else usual
    encoded.codec_context.time_base = stream.time_base
    for tag in ("color_range", "color_primaries", "color_trc", "colorspace", "sample_aspect_ratio"):
        if getattr(source, tag) is not None:
            setattr(encoded.codec_context, tag, getattr(source, tag))
    if rotation:
        encoded.set_display_rotation(rotation)
    encoded.metadata.update({name: value for name, value in stream.metadata.items() if name == "language"})
    return encoded


def _as_frame(frame: tuple[int, int, Native], stream: VideoStream, encoded: Any, rotation: int) -> Any:
    """A frame as it is encoded, turned back."""
    import av

    time, duration, picture = frame
    pixels: Any = np.ascontiguousarray(np.rot90(picture[..., :3], -(rotation // 90)))
    rgb = av.VideoFrame.from_ndarray(pixels, format="rgb48le" if pixels.dtype == np.uint16 else "rgb24")
    source = stream.codec_context
    made = rgb.reformat(
        format=encoded.pix_fmt,
        dst_colorspace=_matrix(source.colorspace, source.height),
        dst_color_range=source.color_range or None,
    )
    made.pts, made.duration, made.time_base = time, duration, stream.time_base
    return made
