"""StyleGAN2's mapping network: z to w, with the truncation trick (section 3.2 of arXiv:1812.04948)."""

import torch
from torch import Tensor, nn

from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.config import GeneratorConfig
from refacer.networks.stylegan2.layers import Linear

MAPPING_LR = 0.01  # relative to the other layers
W_AVG_BETA = 0.995  # decay of the running mean of w, a step


class MappingNetwork(nn.Module):
    """Fully connected layers from z to w, with the running mean `w_avg` (w_dim,) of w."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.num_ws = config.num_ws
        self.z_dim = config.z_dim
        self.num_layers = config.mapping_layers
        for i in range(self.num_layers):
            in_features = config.w_dim if i else config.z_dim
            self.add_module(f"fc{i}", Linear(in_features, config.w_dim, lr=MAPPING_LR, activate=True))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(
        self,
        z: Tensor,
        truncation_psi: float = 1.0,
        *,
        update_w_avg: bool = False,
    ) -> Tensor:
        """Map z to one w, repeated for every layer.

        Args:
            z: (N, z_dim) float32, N(0, 1); normalised here.
            truncation_psi: w is drawn towards w_avg by this factor; 1 leaves it alone.
            update_w_avg: let w_avg follow this batch's mean, as training does.

        Returns:
            (N, num_ws, w_dim) float32.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ShapeMismatch(f"z has shape {tuple(z.shape)}; this generator takes (N, {self.z_dim})")
        w = z.float()
        w = w * (w.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.num_layers):
            w = self.get_submodule(f"fc{i}")(w)
        if update_w_avg:
            with torch.no_grad():
                self.w_avg.lerp_(w.detach().mean(0), 1 - W_AVG_BETA)
        if truncation_psi != 1:
            w = self.w_avg.lerp(w, truncation_psi)
        return w[:, None].repeat(1, self.num_ws, 1)
