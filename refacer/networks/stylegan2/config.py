"""The shapes of StyleGAN2's two networks, as data that a JSON file can hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from refacer.errors import ShapeMismatch


@dataclass(frozen=True, kw_only=True)
class _Config:
    """What a generator and its discriminator have in common.

    Attributes:
        img_resolution: side of the square picture in pixels, a power of two of at least 8.
        channel_base, channel_max: a block at resolution r has min(channel_base // r, channel_max) channels.
        conv_clamp: every convolution's output is clamped to ±conv_clamp times its gain; None leaves it alone.
    """

    img_resolution: int = 1024
    channel_base: int = 32768
    channel_max: int = 512
    conv_clamp: float | None = None

    def __post_init__(self) -> None:
        if self.img_resolution < 8 or self.img_resolution & (self.img_resolution - 1):
            raise ShapeMismatch(f"img_resolution {self.img_resolution}: it must be a power of two of at least 8")
        if self.channels(self.img_resolution) < 1:
            raise ShapeMismatch(f"channel_base {self.channel_base} leaves no channels at {self.img_resolution} pixels")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the blocks in pixels, from 4 up to img_resolution."""
        return tuple(2**k for k in range(2, self.img_resolution.bit_length()))

    def channels(self, resolution: int) -> int:
        """Number of feature channels of the block at a resolution."""
        return min(self.channel_base // resolution, self.channel_max)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict; fields that are missing take their defaults, unknown ones raise ShapeMismatch."""
        unknown = sorted(values.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ShapeMismatch(f"{cls.__name__} has no {', '.join(unknown)}; remove it or use a newer refacer")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(_Config):
    """Shape of a generator; the defaults are those of FFHQ at 1024 pixels (configuration F of the paper).

    Attributes:
        z_dim, w_dim: sizes of the input and of the intermediate latent code.
        mapping_layers: number of fully connected layers from z to w.
    """

    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8

    @property
    def num_ws(self) -> int:
        """Number of w codes that a picture takes: two a resolution."""
        return 2 * len(self.resolutions)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(_Config):
    """Shape of a discriminator.

    Attributes:
        mbstd_group_size: pictures that share one minibatch statistic; None takes the whole batch.
    """

    mbstd_group_size: int | None = 4
