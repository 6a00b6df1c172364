"""Train HyperStyle (Alaluf et al. 2022, arXiv:2111.15666): first its encoder into W, then, beside it, the changes of
the generator's weights.

The published encoder into W is a file of its own; here one run makes both, and what it says no longer changes once the
hypernetwork learns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refacer.images.resampling import resized
from refacer.networks.hyperstyle import HyperStyle, layer_names
from refacer.stages.offsets import added, drawn_with, looked
from refacer.training.reconstruct import Examples, ReconstructionTrainer

CODES, WEIGHTS = "codes", "weights"


class HyperTrainer(ReconstructionTrainer[HyperStyle]):
    """Trains HyperStyle's two networks, one after the other."""

    @staticmethod
    def parts(network: HyperStyle) -> dict[str, nn.Module]:
        """See the class above."""
        return {CODES: network.encoder, WEIGHTS: network.hypernet}

    @property
    def learns_codes(self) -> bool:
        """Whether it is still the encoder into W that learns."""
        return self.done < self.options.w_share

    def _learn(self, examples: Examples) -> None:
        part = CODES if self.learns_codes else WEIGHTS
        if part == CODES:
            with self._reduced():
                codes = self.network.codes(examples.faces)
            self._sum(self._compared(examples.faces, self._drawn(codes.float(), {}))).backward()
        else:
            self._learn_weights(examples.faces)
        self._update(part, self.learned[part])

    def _learn_weights(self, faces: Tensor) -> None:
        """Every look's answer is compared; the next look takes it as given."""
        network, offsets, names = self.network, {}, layer_names(self.generator.config)
        network.encoder.eval()
        with torch.no_grad(), self._reduced():
            codes = network.codes(faces).float()
        for _ in range(network.config.passes):
            with torch.no_grad():
                seen = self._drawn(codes, offsets)
            with self._reduced():
                shares = network.shares(faces, seen)
            offsets = added(offsets, shares, names)
            self._sum(self._compared(faces, self._drawn(codes, offsets))).backward()
            offsets = {name: value.detach() for name, value in offsets.items()}

    def _drawn(self, codes: Tensor, offsets: dict[str, Tensor]) -> Tensor:
        """Pictures at the side at which they are compared; with constant noise, as published."""
        drawn = drawn_with(self.generator, codes, offsets, noise_mode="const", dtype=self.dtype)
        return resized(drawn, self.compared_px)

    def reconstructed(self, faces: Tensor) -> Tensor:
        """See the class above."""
        network = self.network.eval()
        with torch.no_grad():
            codes, offsets = looked(network, faces, self.generator, 0 if self.learns_codes else network.config.passes)
            drawn = drawn_with(self.generator, codes, offsets, noise_mode="const")
        network.train()
        return drawn
