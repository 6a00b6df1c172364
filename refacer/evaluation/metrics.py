"""Distances between two sets of pictures, from their features in float64; what is measured, and the table of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich.table import Column, Table
from torch import Tensor

from refacer.errors import UsageError
from refacer.options import EvalOptions


@dataclass(frozen=True)
class Measure:
    """One number. of: what was measured; count: pictures, pairs or codes that went into it; spread: a standard
    deviation, of single values or of KID's subsets; better: 'lower' or 'higher'; about: the network."""

    name: str
    value: float
    better: str
    of: str
    count: int
    about: str
    spread: float | None = None
    more: Mapping[str, float] = field(default_factory=dict)


def table_of(measures: Sequence[Measure]) -> Table:
    """A row a measure; what the networks are stands below."""
    notes = dict.fromkeys(f"{m.name}: {m.about}" for m in measures)
    plain = [Column(title, no_wrap=True) for title in ("measure", "value", "±", "better", "n")]
    table = Table(*plain, Column("of", overflow="fold"), caption="\n".join(notes), caption_justify="left")
    for m in measures:
        spread = "" if m.spread is None else f"{m.spread:.4g}"
        table.add_row(m.name, f"{m.value:.4g}", spread, m.better, str(m.count), m.of)
    return table


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and unbiased covariance (D, D) of features, float64."""

    mean: Tensor
    covariance: Tensor


def gaussian_of(features: Tensor) -> Gaussian:
    """The Gaussian of features (N, D); raises UsageError for fewer than two."""
    if len(features) < 2:
        raise UsageError(f"a distance between sets needs two pictures or more in each, not {len(features)}")
    values = features.double()
    mean = values.mean(0)
    centred = values - mean
    return Gaussian(mean, centred.T @ centred / (len(values) - 1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Dowson & Landau 1982; Heusel et al. 2017, Eq. 6).

    The trace of that root is the sum of the singular values of C_a^(1/2) C_b^(1/2): no complex numbers appear, and no
    digits are lost, where a covariance is singular, as it is with fewer pictures than features.
    """
    crossed = torch.linalg.svdvals(_root(a.covariance) @ _root(b.covariance)).sum()
    trace = a.covariance.trace() + b.covariance.trace() - 2 * crossed
    return max(float((a.mean - b.mean).square().sum() + trace), 0.0)


def kernel_distance(
    a: Tensor,
    b: Tensor,
    *,
    subsets: int = EvalOptions.kernel_subsets,
    size: int = EvalOptions.kernel_subset_size,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and standard deviation over subsets of the squared MMD of features (N, D) and (M, D).

    Unbiased (Gretton et al. 2012, Eq. 3), hence sometimes below 0, with the kernel (x.y / D + 1)^3 (Binkowski et al.
    2018). Sets no larger than `size` are taken whole and have no deviation. Raises UsageError for fewer than two.
    """
    if min(len(a), len(b)) < 2:
        raise UsageError("a distance between sets needs two pictures or more in each")
    if max(len(a), len(b)) <= size:
        return _squared_mmd(a.double(), b.double()), 0.0
    source = torch.Generator().manual_seed(seed)
    values = torch.tensor([_squared_mmd(_subset(a, size, source), _subset(b, size, source)) for _ in range(subsets)])
    return float(values.mean()), float(values.std(correction=0))


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance; what rounding made of a vanishing variance is 0."""
    values, vectors = torch.linalg.eigh(covariance)
    noise = len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    return (vectors * torch.where(values > noise, values, 0).sqrt()) @ vectors.T


def _subset(features: Tensor, size: int, source: torch.Generator) -> Tensor:
    """At most `size` rows in float64, drawn without replacement."""
    chosen = torch.randperm(len(features), generator=source)[: min(size, len(features))]
    return features[chosen].double()


def _squared_mmd(a: Tensor, b: Tensor) -> float:
    """Unbiased: no sample is compared with itself."""
    own = _mean_of_others(_kernel(a, a)) + _mean_of_others(_kernel(b, b))
    return float(own - 2 * _kernel(a, b).mean())


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """Of every row of a (N, D) with every row of b (M, D): (N, M)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_others(kernel: Tensor) -> Tensor:
    """The mean of a kernel (N, N) without its diagonal."""
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))
