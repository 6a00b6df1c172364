"""Project faces into W+: Eq. 4 of the paper, with the schedule of PTI's W+ projector (Roich et al. 2021).

Every face of a batch is an optimisation of its own: losses are summed, never averaged, and each face has its own noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from refacer.device import dtype_of, seeded_generator
from refacer.errors import RefacerError, ShapeMismatch
from refacer.networks.perceptual import Perceptual, distance, features_in
from refacer.networks.stylegan2.networks import Generator
from refacer.networks.stylegan2.noise import NoiseMaps, draw
from refacer.options import ProjectOptions, WStatistics
from refacer.stages.code_prior import CodePrior, code_prior
from refacer.stages.inversion import Inversion, fitted_faces
from refacer.stages.replay import replayed
from refacer.stages.style_axes import style_axes
from refacer.types import Progress

CHECK_STEPS = 20  # looking at the loss makes a GPU wait, so not at every step


Start = Callable[[Tensor, Generator], Tensor]
"""Faces (N, 3, S, S) and the generator to codes to start from, (N or 1, num_ws, w_dim)."""


@dataclass(frozen=True)
class Known:
    """What an optimisation needs to know of a generator, the same for all faces; None for what is not asked for."""

    prior: CodePrior | None = None
    axes: Tensor | None = None

    @classmethod
    def of(cls, generator: Generator, options: ProjectOptions) -> Known:
        """As the options ask; on a CPU core it takes as long as some ten steps at 256²."""
        return cls(
            code_prior(generator, WStatistics()) if options.prior_weight else None,
            style_axes(generator) if options.axes == "styles" else None,
        )


@dataclass(frozen=True)
class Optimiser:
    """Eq. 4 as an inverter: the distance, the spread of w (`w_statistics`), the options, and where it starts.

    known: of the generator that it will be given; None finds it anew at every call.
    """

    perceptual: Perceptual
    w_std: float
    options: ProjectOptions
    start: Start | None = None
    known: Known | None = None

    def __call__(self, faces: Tensor, generator: Generator, *, progress: Progress | None = None) -> Inversion:
        """See `project`."""
        with torch.no_grad():
            init = None if self.start is None else self.start(faces, generator)
        return project(
            faces, generator, self.perceptual, self.w_std, self.options,
            init=init, known=self.known, progress=progress,
        )  # fmt: skip


def project(
    faces: Tensor,
    generator: Generator,
    perceptual: Perceptual,
    w_std: float,
    options: ProjectOptions,
    *,
    init: Tensor | None = None,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Inversion:
    """Minimise lambda_n L_n(n) + LPIPS(x, G(w+, n)) over w+ and n (Eq. 4), repeatably.

    The distance that is told is measured in float32, whatever the precision of the steps. `options.prior_weight` adds
    a latent prior (`code_prior`) and `options.axes` turns what Adam moves (`style_axes`); the paper has neither.
    faces: (N, 3, S, S) in [-1, 1]; another size than the generator's is resampled. w_std: spread of w (`w_statistics`).
    init: codes to start from, (N or 1, num_ws, w_dim), instead of the average code in every layer. n* is not kept: the
    other generator has its own noise. known: `Known.of` the generator with these options, found anew without.
    Raises ShapeMismatch for other shapes, RefacerError when the loss is no longer finite.
    """
    sources = [seeded_generator(options.seed) for _ in faces]
    with frozen(generator, perceptual), repeatable(), torch.enable_grad():
        fitted = fitted_faces(faces, generator.img_resolution)
        noise = NoiseMaps(generator, sources, faces.device)
        start = _start(faces, generator, init)
        known = known or Known.of(generator, options)
        codes = _Codes(start) if known.axes is None else _Codes.turned(start, known.axes)
        loss = _Loss(generator, perceptual, fitted, noise, known.prior, dtype_of(options.precision))
        trace = _optimise(codes, loss, sources, w_std, options, progress)
        with torch.no_grad():
            found = codes.now()
            return Inversion(found.detach(), replace(loss, dtype=torch.float32).distance(found), trace=trace)


def learning_rate(t: float, options: ProjectOptions) -> float:
    """The rate at t = step / steps: a linear rise from 0, a plateau, a cosine back to 0."""
    fall = 0.5 - 0.5 * math.cos(math.pi * _share(1 - t, options.lr_rampdown))
    return options.lr * fall * _share(t, options.lr_rampup)


def code_noise(t: float, w_std: float, options: ProjectOptions) -> float:
    """Standard deviation of the noise on the codes at t = step / steps; none after `noise_ramp`."""
    return w_std * options.initial_noise * (1 - _share(t, options.noise_ramp)) ** 2


@dataclass(frozen=True)
class _Codes:
    """Codes (N, num_ws, w_dim) on their way, and the numbers that Adam moves: their own, or steps along axes."""

    moved: Tensor
    start: Tensor | None = None
    axes: Tensor | None = None

    @classmethod
    def turned(cls, start: Tensor, axes: Tensor) -> _Codes:
        """Steps from the start along axes, the columns of (num_ws, w_dim, w_dim)."""
        return cls(torch.zeros_like(start).requires_grad_(), start.detach(), axes)

    def now(self) -> Tensor:
        """The codes, with gradients to what is moved."""
        if self.start is None or self.axes is None:
            return self.moved
        return self.start + torch.einsum("nld,lwd->nlw", self.moved, self.axes)


class _Step(NamedTuple):
    """What the trace keeps of a step; the last three are (N,) and stay on the device until the end."""

    lr: float
    code_noise: float
    distance: Tensor
    noise_loss: Tensor
    prior: Tensor


@dataclass(frozen=True)
class _Loss:
    """The two terms of Eq. 4 for a batch of faces, and the prior's, None where it has no weight."""

    generator: Generator
    perceptual: Perceptual
    faces: Tensor
    noise: NoiseMaps
    prior: CodePrior | None
    dtype: torch.dtype

    @cached_property
    def target(self) -> Tensor:
        """Features of the faces."""
        with torch.no_grad():
            return features_in(self.dtype, self.perceptual, self.faces)

    def distance(self, codes: Tensor) -> Tensor:
        """LPIPS(x, G(w+, n)) of Eq. 4, one number a face: (N,)."""
        images = self.generator.synthesis(codes, noise=self.noise.named(), modulate="activations", dtype=self.dtype)
        return distance(features_in(self.dtype, self.perceptual, images), self.target)

    def unlikely(self, codes: Tensor) -> Tensor:
        """How unlike the codes are those of random z, (N,)."""
        return codes.new_zeros(len(codes)) if self.prior is None else self.prior(codes)


def _optimise(
    codes: _Codes,
    loss: _Loss,
    sources: list[torch.Generator],
    w_std: float,
    options: ProjectOptions,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    """Adam over codes and noise together, in place; returns the trace."""
    adam = _Adam([codes.moved, *loss.noise.maps.values()], options.adam_betas)
    shaken = torch.zeros_like(codes.moved)

    def move() -> tuple[Tensor, ...]:
        now = codes.now()
        apart, noise_loss, unlikely = loss.distance(now + shaken), loss.noise.loss(), loss.unlikely(now)
        adam.step((apart + options.noise_weight * noise_loss + options.prior_weight * unlikely).sum())
        loss.noise.normalise()
        return apart.detach(), noise_loss.detach(), unlikely.detach()

    take, rows = replayed(move, shaken.device), list[_Step]()
    for step in range(options.steps):
        t = step / options.steps
        rate, scale = learning_rate(t, options), code_noise(t, w_std, options)
        shaken.copy_(scale * draw(sources, shaken.shape[1:], shaken.device)) if scale else shaken.zero_()
        adam.set_rate(rate)
        apart, noise_loss, unlikely = take()
        rows.append(_Step(rate, scale, apart, noise_loss, unlikely))
        looks = step % CHECK_STEPS == 0 or step == options.steps - 1
        if looks and not bool(apart.isfinite().all()):
            raise RefacerError(
                f"projection lost its way: the distance is not finite at step {step}; use a smaller --lr"
            )
        if progress:
            progress(step + 1, options.steps)
    return _trace(rows)


class _Adam:
    """Adam with a rate of the moment; on a GPU it is kept there, where a recorded step can read it."""

    def __init__(self, moved: list[Tensor], betas: tuple[float, float]) -> None:
        self.on_gpu = moved[0].is_cuda
        rate = torch.zeros((), device=moved[0].device) if self.on_gpu else 0.0
        self.adam = torch.optim.Adam(moved, lr=rate, betas=betas, fused=True, capturable=self.on_gpu)
        (self.group,) = self.adam.param_groups

    def set_rate(self, rate: float) -> None:
        """The rate of the next step."""
        if self.on_gpu:
            self.group["lr"].fill_(rate)
        else:
            self.group["lr"] = rate

    def step(self, loss: Tensor) -> None:
        """Move against the loss's gradient."""
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


def _start(faces: Tensor, generator: Generator, init: Tensor | None) -> Tensor:
    """The codes to optimise, (N, num_ws, w_dim): those given, or the average code in every layer (Sec. 3.3)."""
    shape = (len(faces), generator.num_ws, generator.w_dim)
    given = generator.mapping.w_avg.expand(1, *shape[1:]) if init is None else init
    if given.shape[1:] != shape[1:] or len(given) not in (1, len(faces)):
        raise ShapeMismatch(f"the codes to start from have shape {tuple(given.shape)}; this generator takes {shape}")
    return given.detach().to(faces.device, torch.float32).expand(shape).clone().requires_grad_()


def _trace(rows: list[_Step]) -> list[dict[str, Any]]:
    """The rows as plain numbers, fetched from the device at once."""
    if not rows:
        return []
    names = ("distance", "noise_loss", "prior")
    values = torch.stack([torch.stack([getattr(row, name) for name in names]) for row in rows]).tolist()
    return [
        {"step": step, **row._asdict(), **dict(zip(names, found, strict=True))}
        for step, (row, found) in enumerate(zip(rows, values, strict=True))
    ]


def _share(t: float, span: float) -> float:
    """How much of `span` has passed at t, at most 1; a span of 0 is over at once."""
    return min(1.0, t / span) if span > 0 else 1.0


@contextmanager
def frozen(*networks: object) -> Iterator[None]:
    """No gradients for the networks' parameters inside; outside they are as they were."""
    modules = nn.ModuleList([network for network in networks if isinstance(network, nn.Module)])
    trainable = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def repeatable() -> Iterator[None]:
    """cuDNN at full float32 precision and with algorithms that give the same bits again."""
    with ExitStack() as stack:
        if torch.backends.cudnn.is_available():
            stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
        yield
