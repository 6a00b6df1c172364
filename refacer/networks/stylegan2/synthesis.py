"""StyleGAN2's synthesis network in the skip architecture (figure 7b of arXiv:1912.04958)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.config import GeneratorConfig
from refacer.networks.stylegan2.layers import SynthesisLayer, ToRGB
from refacer.networks.stylegan2.ops import Modulate, setup_filter, upsample2d
from refacer.options import NoiseMode

NoiseMaps = Mapping[str, Tensor | None]
"""The noise of one block's convolutions by name: (R, R), (N, 1, R, R) or None."""


class SynthesisBlock(nn.Module):
    """The layers at one resolution; the first block starts from a learned constant instead of conv0."""

    resample_filter: Tensor

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        channels, w_dim, clamp = config.channels(resolution), config.w_dim, config.conv_clamp
        self.resolution = resolution
        self.register_buffer("resample_filter", setup_filter())
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(channels, 4, 4))
        else:
            below = config.channels(resolution // 2)
            self.conv0 = SynthesisLayer(below, channels, w_dim, resolution, up=True, clamp=clamp)
        self.conv1 = SynthesisLayer(channels, channels, w_dim, resolution, up=False, clamp=clamp)
        self.torgb = ToRGB(channels, w_dim, clamp=clamp)

    @property
    def convs(self) -> dict[str, SynthesisLayer]:
        """The convolutions in order, one w code each; ToRGB shares the next block's first code."""
        return {"conv1": self.conv1} if self.resolution == 4 else {"conv0": self.conv0, "conv1": self.conv1}

    def forward(
        self, x: Tensor | None, img: Tensor | None, ws: Tensor, noise: NoiseMaps, modulate: Modulate
    ) -> tuple[Tensor, Tensor]:
        """Take activations (N, C', R / 2, R / 2) and picture (N, 3, R / 2, R / 2) to R pixels.

        ws is (N, convs + 1, w_dim); noise has a map or None for each of convs.
        """
        if x is None:
            y = self.const.repeat(len(ws), 1, 1, 1).contiguous(memory_format=torch.channels_last)
        else:
            y = self.conv0(x, ws[:, 0], noise["conv0"], modulate)
        y = self.conv1(y, ws[:, -2], noise["conv1"], modulate)
        rgb = self.torgb(y, ws[:, -1])
        return y, rgb if img is None else upsample2d(img, self.resample_filter) + rgb


class SynthesisNetwork(nn.Module):
    """Codes to pictures: blocks b4, b8, ... up to img_resolution."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        for resolution in config.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(config, resolution))

    def blocks(self) -> list[SynthesisBlock]:
        """The blocks, from 4 pixels up."""
        found = [self.get_submodule(f"b{resolution}") for resolution in self.config.resolutions]
        return [block for block in found if isinstance(block, SynthesisBlock)]

    def forward(
        self,
        ws: Tensor,
        *,
        noise_mode: NoiseMode = "const",
        noise: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        modulate: Modulate = "auto",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw the pictures of codes.

        Args:
            ws: (N, num_ws, w_dim) float32, one code a layer (W+).
            noise_mode: 'const' adds the buffers noise_const, 'random' fresh N(0, 1) values, 'none' nothing.
            noise: stands in for buffers in mode 'const': a key like 'b8.conv0.noise_const' to (R, R) or (N, 1, R, R).
            generator: source of the random noise; the values are drawn on its device.
            modulate: how kernels are modulated, see ops.modulated_conv2d.
            dtype: of activations and convolutions from 8 pixels up; styles, demodulation and the picture stay float32.

        Returns:
            (N, 3, R, R) float32, nominally in [-1, 1], not clipped.

        Raises:
            ShapeMismatch: ws or a noise map has another shape than this generator's.
        """
        self._check(ws, noise or {})
        return self.drawn(ws, self.noise_maps(len(ws), noise_mode, noise, generator), modulate, dtype)

    def noise_maps(
        self,
        samples: int,
        mode: NoiseMode,
        noise: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> list[NoiseMaps]:
        """The noise of every block, as `forward` describes it."""
        given = noise or {}
        return [
            {
                name: _noise_map(
                    conv.noise_const, samples, mode, given.get(f"b{block.resolution}.{name}.noise_const"), generator
                )
                for name, conv in block.convs.items()
            }
            for block in self.blocks()
        ]

    def drawn(self, ws: Tensor, noise: Sequence[NoiseMaps], modulate: Modulate, dtype: torch.dtype) -> Tensor:
        """`forward` once the noise is drawn: no random numbers and no checks, so that it can be compiled whole."""
        x = img = None
        first = 0
        for block, maps in zip(self.blocks(), noise, strict=True):
            codes = ws[:, first : first + len(maps) + 1].float()
            x, img = block(None if x is None else x.to(dtype), img, codes, maps, modulate)
            first += len(maps)
        assert img is not None
        return img

    def noise_buffers(self) -> dict[str, Tensor]:
        """The constant noise maps (R, R) by the keys that `noise` takes."""
        return {key: buffer for key, buffer in self.named_buffers() if key.endswith(".noise_const")}

    def _check(self, ws: Tensor, noise: Mapping[str, Tensor]) -> None:
        """Raise ShapeMismatch unless codes and noise maps fit."""
        num_ws, w_dim = self.config.num_ws, self.config.w_dim
        if ws.ndim != 3 or ws.shape[1:] != (num_ws, w_dim):
            raise ShapeMismatch(f"codes have shape {tuple(ws.shape)}; this generator takes (N, {num_ws}, {w_dim})")
        buffers = self.noise_buffers() if noise else {}
        for key, value in noise.items():
            if key not in buffers:
                raise ShapeMismatch(f"noise map {key} is unknown; this generator has {', '.join(buffers)}")
            side = len(buffers[key])
            if value.shape not in ((side, side), (1, 1, side, side), (len(ws), 1, side, side)):
                allowed = f"({side}, {side}) or (N, 1, {side}, {side})"
                raise ShapeMismatch(f"noise map {key} has shape {tuple(value.shape)}; it must be {allowed}")


def _noise_map(
    const: Tensor, samples: int, mode: NoiseMode, override: Tensor | None, generator: torch.Generator | None
) -> Tensor | None:
    """The noise of one convolution in a mode: (R, R), (N, 1, R, R) or None."""
    if mode == "none":
        return None
    if mode == "const":
        return const if override is None else override
    device = generator.device if generator else const.device
    return torch.randn(samples, 1, *const.shape, generator=generator, device=device).to(const.device)
