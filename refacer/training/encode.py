"""Train an encoder of faces into a frozen generator's W+ codes, with the losses of pSp, e4e and ReStyle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from refacer.images.resampling import resized
from refacer.networks.encoders import FaceEncoder
from refacer.networks.linear_styles import LinearStyles
from refacer.networks.stylegan2.networks import Generator
from refacer.options import EncoderOptions, WStatistics
from refacer.stages.code_prior import code_prior
from refacer.training.dataset import FaceDataset
from refacer.training.latents import (
    CodePool,
    LatentDiscriminator,
    gradient_penalty,
    logistic_loss,
    of_random_layers,
)
from refacer.training.losses import generator_loss
from refacer.training.processes import Processes
from refacer.training.reconstruct import Examples, Judges, ReconstructionTrainer

ENCODER, DISCRIMINATOR = "encoder", "discriminator"
TURNED_BY = 2  # own pictures, and as many faces, for each direction that a linear encoder keeps
TURNED_AT_ONCE = 16


class EncoderTrainer(ReconstructionTrainer[FaceEncoder]):
    """Trains an encoder and, for e4e, the latent discriminator."""

    def __init__(
        self,
        encoder: FaceEncoder,
        generator: Generator,
        faces: FaceDataset | None,
        judges: Judges,
        options: EncoderOptions,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        super().__init__(encoder, generator, faces, judges, options, device, processes)
        self.discriminator = LatentDiscriminator(generator.w_dim).to(device)
        judging = list(self.discriminator.parameters())
        self.optimizers[DISCRIMINATOR] = torch.optim.Adam(judging, lr=options.d_lr)
        self.pools = {name: CodePool(generator.w_dim, device) for name in ("real", "fake")}
        self.prior = code_prior(self.generator, WStatistics()) if options.prior_weight else None

    @staticmethod
    def parts(network: FaceEncoder) -> dict[str, nn.Module]:
        """See the class above."""
        return {ENCODER: network.encoder}

    def step(self) -> None:
        """See the class above."""
        if self.iteration == 0 and isinstance(self.network.encoder, LinearStyles):
            self._turn(self.network.encoder)
        super().step()

    def _learn(self, examples: Examples) -> None:
        config = self.network.config
        seen = resized(examples.faces, config.input_px)
        codes = self.network.start(self.share)
        for _ in range(config.passes):
            codes = codes.detach() + self._offsets(self.network.beside(seen, codes, self.generator))
            self._loss(examples, codes).backward()
        self._update(ENCODER, self.learned[ENCODER])
        if self.adversarial:
            self.random.start("discriminator", self.iteration, self.processes.rank)
            self._judge(codes.detach())

    @torch.no_grad()
    def _turn(self, encoder: LinearStyles) -> None:
        """Let the first layer keep what varies most in faces and own pictures, the same in every process."""
        found: list[Tensor] = []
        self.random.start("measure", 0, 1)
        for first in range(0, TURNED_BY * encoder.width, TURNED_AT_ONCE):
            seen = [self.drawn_alone(TURNED_AT_ONCE)]
            if self.faces is not None:
                seen.append(self.given(self.faces, first, TURNED_AT_ONCE))
            found += [encoder.features(resized(pictures, self.network.config.input_px)) for pictures in seen]
        encoder.turn(torch.cat(found))

    def reconstructed(self, faces: Tensor) -> Tensor:
        """See the class above."""
        encoder = self.network.eval()
        with torch.no_grad():
            codes = torch.cat([encoder(part, self.generator) for part in faces.split(8)])
            drawn = torch.cat([self.generator.synthesis(part, noise_mode="const") for part in codes.split(8)])
        encoder.train()
        return drawn

    @property
    def adversarial(self) -> bool:
        """Whether a discriminator keeps the codes near those of random z."""
        return self.network.config.has_deltas and self.options.adversarial_weight > 0

    @property
    def deltas(self) -> int:
        """How many heads add to the first code by now; e4e lets them in one by one."""
        o, most = self.options, self.network.config.num_ws - 1
        since = self.done - o.deltas_from
        return 0 if since < 0 else min(most, 1 + int(since / max(o.deltas_every, 1e-9)))

    def _offsets(self, images: Tensor) -> Tensor:
        """The network's answer, in its precision."""
        with self._reduced():
            deltas = (self.deltas,) if self.network.config.has_deltas else ()
            return self.network.encoder(images, *deltas).float()

    def _loss(self, examples: Examples, codes: Tensor) -> Tensor:
        """The weighted sum of an answer's losses."""
        terms = self._compared(examples.faces, self._drawn(codes))
        if len(examples.codes):
            terms["code"] = self._wrong(codes[-len(examples.codes) :], examples.codes)
        if self.prior is not None:
            terms["prior"] = self.prior(codes).mean()
        if self.network.config.has_deltas and (deltas := self.deltas):
            added = codes[:, 1 : deltas + 1] - codes[:, :1]
            terms["delta"] = added.norm(dim=2).mean(0).sum()
        if self.adversarial:
            kept = codes[:, : self.deltas + 1].flatten(0, 1)
            terms["adversarial"] = generator_loss(self.discriminator.requires_grad_(False)(kept)[:, None]).mean()
        return self._sum(terms)

    def _drawn(self, codes: Tensor) -> Tensor:
        """The codes' pictures at the side at which they are compared."""
        images = self.generator.synthesis(
            codes, noise_mode="random", generator=self.random.device, modulate="activations", dtype=self.dtype
        )
        return resized(images, self.compared_px)

    def _wrong(self, codes: Tensor, true: Tensor) -> Tensor:
        """Squared distance of codes, in units of the spread of w."""
        return (codes - true).square().sum(2).mean() / self.judges.w_std**2

    def _judge(self, codes: Tensor) -> None:
        """The latent discriminator's own step, and R1 now and then."""
        o, random, g = self.options, self.random.device, self.generator
        with torch.no_grad():
            z = torch.randn(self.share, g.z_dim, generator=random, device=self.device)
            real = self.pools["real"].query(g.mapping(z)[:, 0], random)
            fake = self.pools["fake"].query(of_random_layers(codes, random), random)
        d = self.discriminator.requires_grad_(True)
        parameters = list(d.parameters())
        loss = logistic_loss(d(real), d(fake))
        self.statistics.add("loss/discriminator", loss)
        loss.backward()
        self._update(DISCRIMINATOR, parameters)
        if self.iteration % o.d_interval == 0:
            real = real.detach().requires_grad_(True)
            penalty = gradient_penalty(d(real), real)
            (penalty * (o.d_gamma / 2 * o.d_interval)).backward()
            self._update(DISCRIMINATOR, parameters)

    def measure(self) -> dict[str, Any]:
        """How many codes of their own the layers have by now."""
        return {"deltas": self.deltas} if self.network.config.has_deltas else {}

    def state_dict(self) -> dict[str, Any]:
        """Each process has its own pools; the first one's are kept."""
        pools = {name: pool.kept for name, pool in self.pools.items()}
        return super().state_dict() | {"discriminator": self.discriminator.state_dict(), "pools": pools}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See the class above."""
        super().load_state_dict(state)
        self.discriminator.load_state_dict(state["discriminator"])
        for name, kept in state["pools"].items():
            self.pools[name].kept = kept.to(self.device)
