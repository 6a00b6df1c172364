"""Train HyperStyle (Alaluf et al. 2022, arXiv:2111.15666): first its encoder into W, then, beside it, the changes of
the generator's weights.

The published encoder into W is a file of its own; here one run makes both, and what it says no longer changes once the
hypernetwork learns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refacer.images.resampling import resized
from refacer.networks.hyperstyle import HyperStyle, layer_names
from refacer.networks.stylegan2.networks import Generator
from refacer.options import EncoderOptions
from refacer.stages.offsets import added, drawn_with
from refacer.training.dataset import FaceDataset
from refacer.training.processes import Processes
from refacer.training.reconstruct import Examples, Judges, ReconstructionTrainer

CODES, WEIGHTS = "codes", "weights"


class HyperTrainer(ReconstructionTrainer[HyperStyle]):
    """Trains HyperStyle's two networks, one after the other."""

    def __init__(
        self,
        network: HyperStyle,
        generator: Generator,
        faces: FaceDataset | None,
        judges: Judges,
        options: EncoderOptions,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        learned = {CODES: network.encoder, WEIGHTS: network.hypernet}
        super().__init__(network, learned, generator, faces, judges, options, device, processes)
        self.names = layer_names(generator.config)

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
        network, offsets = self.network, {}
        network.encoder.eval()
        with torch.no_grad(), self._reduced():
            codes = network.codes(faces).float()
        for _ in range(network.config.passes):
            with torch.no_grad():
                seen = self._drawn(codes, offsets)
            with self._reduced():
                shares = network.shares(faces, seen)
            offsets = added(offsets, shares, self.names)
            self._sum(self._compared(faces, self._drawn(codes, offsets))).backward()
            offsets = {name: value.detach() for name, value in offsets.items()}

    def _drawn(self, codes: Tensor, offsets: dict[str, Tensor]) -> Tensor:
        """Pictures at the side at which they are compared; with constant noise, as published."""
        drawn = drawn_with(self.generator, codes, offsets, noise_mode="const", dtype=self.dtype)
        return resized(drawn, self.compared_px)

    def reconstructed(self, faces: Tensor) -> Tensor:
        """See the class above."""
        network, offsets = self.network.eval(), {}
        with torch.no_grad():
            codes = network.codes(faces)
            for _ in range(0 if self.learns_codes else network.config.passes):
                seen = drawn_with(self.generator, codes, offsets, noise_mode="const")
                offsets = added(offsets, network.shares(faces, seen), self.names)
            drawn = drawn_with(self.generator, codes, offsets, noise_mode="const")
        network.train()
        return drawn
