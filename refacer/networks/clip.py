"""CLIP (Radford et al. 2021, arXiv:2103.00020): pictures and texts as directions in one space.

Attribute names are the keys of `transformers`, in which openai/clip-vit-base-patch32 is published.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
SCALE = (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue in [0, 1], as published."""

HEAD_WIDTH = 64  # of every head of attention in every published size
GELU_SLOPE = 1.702


@dataclass(frozen=True)
class ClipConfig:
    """Sizes; those of ViT-B/32 by default. hidden: of each layer's inner width over its own."""

    side_px: int = 224
    patch_px: int = 32
    vision_width: int = 768
    vision_layers: int = 12
    text_width: int = 512
    text_layers: int = 12
    tokens: int = 77
    vocabulary: int = 49408
    embedding: int = 512
    hidden: int = 4


class Clip(nn.Module):
    """Both towers. Nothing is trained here, but gradients reach the pictures."""

    def __init__(self, config: ClipConfig = ClipConfig()) -> None:
        super().__init__()
        self.config = config
        self.vision_model = _Vision(config)
        self.text_model = _Text(config)
        self.visual_projection = nn.Linear(config.vision_width, config.embedding, bias=False)
        self.text_projection = nn.Linear(config.text_width, config.embedding, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros([]))

    def embed(self, images: Tensor) -> Tensor:
        """(N, 3, R, R) in [-1, 1] to (N, F); bicubic to its own size, not antialiased, as in StyleGAN-NADA's time."""
        side = self.config.side_px
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bicubic", align_corners=False)
        mean, scale = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, SCALE))
        seen = ((images + 1) / 2 - mean) / scale
        return self.visual_projection(self.vision_model(seen))

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """(N, T) token numbers, each text's end token its greatest, to (N, F)."""
        return self.text_projection(self.text_model(tokens))


class _Embeddings(nn.Module):
    """A picture's patches, behind a code for the whole."""

    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(c.vision_width))
        self.patch_embedding = nn.Conv2d(3, c.vision_width, c.patch_px, stride=c.patch_px, bias=False)
        self.position_embedding = nn.Embedding((c.side_px // c.patch_px) ** 2 + 1, c.vision_width)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embedding(images).flatten(2).transpose(1, 2)
        whole = self.class_embedding.expand(len(images), 1, -1)
        return torch.cat([whole, patches], 1) + self.position_embedding.weight


class _Vision(nn.Module):
    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(c)
        self.pre_layrnorm = nn.LayerNorm(c.vision_width)  # spelt so in the published keys
        self.encoder = _Encoder(c.vision_width, c.vision_layers, c.hidden)
        self.post_layernorm = nn.LayerNorm(c.vision_width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to the code of the whole (N, W)."""
        x = self.encoder(self.pre_layrnorm(self.embeddings(images)), causal=False)
        return self.post_layernorm(x[:, 0])


class _TextEmbeddings(nn.Module):
    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(c.vocabulary, c.text_width)
        self.position_embedding = nn.Embedding(c.tokens, c.text_width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]


class _Text(nn.Module):
    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        self.embeddings = _TextEmbeddings(c)
        self.encoder = _Encoder(c.text_width, c.text_layers, c.hidden)
        self.final_layer_norm = nn.LayerNorm(c.text_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T) to the code of each text's end (N, W)."""
        x = self.final_layer_norm(self.encoder(self.embeddings(tokens), causal=True))
        return x[torch.arange(len(x), device=x.device), tokens.argmax(1)]


class _Encoder(nn.Module):
    def __init__(self, width: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, hidden) for _ in range(layers))

    def forward(self, x: Tensor, *, causal: bool) -> Tensor:
        for layer in self.layers:
            x = layer(x, causal=causal)
        return x


class _Layer(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width)
        self.layer_norm1 = nn.LayerNorm(width)
        self.mlp = _Mlp(width, hidden)
        self.layer_norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, *, causal: bool) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), causal=causal)
        return x + self.mlp(self.layer_norm2(x))


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.heads = max(1, width // HEAD_WIDTH)

    def forward(self, x: Tensor, *, causal: bool) -> Tensor:
        n, length, width = x.shape
        q, k, v = (
            project(x).view(n, length, self.heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(seen.transpose(1, 2).reshape(n, length, width))


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden * width), nn.Linear(hidden * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(GELU_SLOPE * x))
