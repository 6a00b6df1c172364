"""StyleGAN2: the two networks and their configurations, under the published state names.

Written from the papers' definitions: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"
(arXiv:1912.04958) and "Training Generative Adversarial Networks with Limited Data" (arXiv:2006.06676).
"""

from typing import Any

from torch import Tensor, nn

from refacer.networks.stylegan2.config import DiscriminatorConfig, GeneratorConfig
from refacer.networks.stylegan2.discriminator import Discriminator
from refacer.networks.stylegan2.mapping import MappingNetwork
from refacer.networks.stylegan2.synthesis import SynthesisNetwork

__all__ = ["Discriminator", "DiscriminatorConfig", "Generator", "GeneratorConfig", "SynthesisNetwork"]


class Generator(nn.Module):
    """Mapping and synthesis: random numbers to pictures.

    Attributes:
        config, z_dim, w_dim, num_ws, img_resolution: its shape.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        self.num_ws, self.img_resolution = config.num_ws, config.img_resolution
        self.synthesis = SynthesisNetwork(config)
        self.mapping = MappingNetwork(config)

    def forward(self, z: Tensor, *, truncation_psi: float = 1.0, **synthesis: Any) -> Tensor:
        """z (N, z_dim) to pictures (N, 3, R, R) float32; `synthesis` are the keywords of SynthesisNetwork.forward."""
        return self.synthesis(self.mapping(z, truncation_psi), **synthesis)
