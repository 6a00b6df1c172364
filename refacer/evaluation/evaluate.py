"""One call of `refacer eval`: measures, a table for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
import typer
from rich.console import Console
from torch import Tensor

from refacer import __version__, console
from refacer.commands.eval import EvalFlags
from refacer.commands.shared import Common
from refacer.device import seeded_generator
from refacer.errors import RefacerError, ShapeMismatch, UsageError
from refacer.evaluation.measures import Measure, table_of
from refacer.evaluation.metrics import frechet_distance, gaussian_of, kernel_distance
from refacer.evaluation.networks import (
    FeatureNetwork,
    feature_network,
    identity_network,
    perceptual_network,
)
from refacer.evaluation.picture_sets import PictureSet
from refacer.files import write_atomic
from refacer.images.pixels import rgb_from_tensor, scale_to_unit, snap
from refacer.images.resampling import resized
from refacer.jobs.report import Report
from refacer.jobs.session import Session
from refacer.networks.identity import SAME_PERSON
from refacer.networks.perceptual import Perceptual, distance
from refacer.networks.stylegan2.networks import Generator


@dataclass
class Evaluation:
    """What is to be measured, and what failed so far."""

    sets: Sequence[Path]
    against: Sequence[Path]
    flags: EvalFlags
    common: Common

    def go(self) -> None:
        """Measure, show, write; leaves with 1 where a picture could not be used."""
        if len(self.sets) not in (0, 2):
            raise UsageError("name two folders or zips to compare, or none")
        if self.against and not self.of_pair:
            raise UsageError("--against measures a pair; name it with --pair")
        self.session, self.failures = Session(self.common), 0
        opened = [PictureSet(path, self.common.max_pixels) for path in (*self.sets, *self.against)]
        report, measures, code = Report(self.common.report), [], 1
        try:
            self._measure(opened, report, measures)
            code = int(self.failures > 0)
        finally:
            report.facts.update(self.session.facts())
            report.close(code, len(report.results))
        self._tell(measures)
        if code:
            raise typer.Exit(code)

    def _measure(self, opened: Sequence[PictureSet], report: Report, measures: list[Measure]) -> None:
        """All measures, each reported as it is known."""
        since = time.perf_counter()
        for measure in self._measures(opened, report):
            report.add(measure.name, "done", [], time.perf_counter() - since, asdict(measure))
            measures.append(measure)
            since = time.perf_counter()

    @property
    def of_pair(self) -> bool:
        """Whether a pair is measured: it is named, or there is nothing else."""
        return self.common.pair is not None or not self.sets

    @cached_property
    def network(self) -> FeatureNetwork:
        """What FID and KID look through."""
        return feature_network(self.session)

    @cached_property
    def perceptual(self) -> tuple[Perceptual, str]:
        """What LPIPS' column is measured with, and its name."""
        return perceptual_network(self.session)

    def _measures(self, opened: Sequence[PictureSet], report: Report) -> Iterator[Measure]:
        between, against = opened[: len(self.sets)], opened[len(self.sets) :]
        if self.of_pair and against:
            drawn = self._features("drawing", self._drawn(), self.flags.images)
            for pictures in against:
                there = self._set_features(pictures, report, self.session.pair.resolution)
                yield from self._set_distances(
                    drawn, there, f"rendering of {self.session.pair.name}, {pictures.source}"
                )
        if self.of_pair and self.flags.codes:
            yield from self._identity()
        if between:
            both = [self._set_features(pictures, report, None) for pictures in between]
            if min(map(len, both)) > 1:
                yield from self._set_distances(both[0], both[1], f"{between[0].source}, {between[1].source}")
            yield from self._pairs(between[0], between[1], report)

    def _features(self, title: str, pictures: Iterator[Tensor], total: int) -> Tensor:
        """Features (N, D) of pictures (3, H, W) uint8, in batches of one size."""
        found, waiting = [], []
        with console.bars(total, quiet=self.common.quiet) as bars:
            for number, picture in enumerate(pictures):
                if waiting and (len(waiting) == self.flags.batch or waiting[0].shape != picture.shape):
                    found.append(self.network.features(torch.stack(waiting)))
                    waiting = []
                    bars.show_item(title, number)
                waiting.append(picture)
        if waiting:
            found.append(self.network.features(torch.stack(waiting)))
        return torch.cat(found) if found else torch.empty(0, 1)

    def _set_features(self, pictures: PictureSet, report: Report, side_px: int | None) -> Tensor:
        """Features of a set, its pictures first brought to the generator's size where one is given."""

        def read() -> Iterator[Tensor]:
            for key in pictures.keys:
                picture = self._tried(f"{pictures.source}: {key}", lambda key=key: pictures.picture(key), report)
                if picture is not None:
                    yield picture if side_px is None else _at(picture, side_px)

        return self._features(str(pictures.source), read(), len(pictures))

    def _drawn(self) -> Iterator[Tensor]:
        """The rendering generator's pictures of random codes, psi 1, with random noise, as FID's protocol has it."""
        source = seeded_generator(self.common.seed)
        for z in self._z(self.flags.images):
            images = self._draw(self.session.rendering, z, noise_mode="random", generator=source)
            yield from (_stored(image) for image in images)

    @torch.no_grad()
    def _draw(self, network: Generator, z: Tensor, **noise: Any) -> Tensor:
        """Pictures (N, 3, R, R) as their files would hold them."""
        return snap(network(z.to(self.session.device), **noise))

    def _z(self, count: int) -> Iterator[Tensor]:
        source = seeded_generator(self.common.seed)
        for start in range(0, count, self.flags.batch):
            yield torch.randn(min(self.flags.batch, count - start), self.session.rendering.z_dim, generator=source)

    def _set_distances(self, a: Tensor, b: Tensor, of: str) -> Iterator[Measure]:
        """FID and KID of two sets of features."""
        suffix, about, count = self.network.suffix, self.network.about, min(len(a), len(b))
        more = {"first": len(a), "second": len(b)}
        fid = frechet_distance(gaussian_of(a), gaussian_of(b))
        yield Measure(f"fid{suffix}", fid, "lower", of, count, about, more=more)
        mean, spread = kernel_distance(a, b, seed=self.common.seed)
        yield Measure(f"kid{suffix}", mean, "lower", of, count, about, spread or None, more)

    def _identity(self) -> Iterator[Measure]:
        """Both generators' faces of one code, each with its own constant noise; codes without a face are left out."""
        network, values = identity_network(self.session), []
        with console.bars(self.flags.codes, quiet=self.common.quiet) as bars:
            for number, z in enumerate(self._z(self.flags.codes)):
                bars.show_item("comparing faces", number * self.flags.batch)
                drawn = [self._draw(g, z, noise_mode="const") for g in (self.session.real, self.session.rendering)]
                values += [network.compare(*pair) for pair in zip(*(d.split(1) for d in drawn), strict=True)]
        known = [value for value in values if value is not None]
        if not known:
            console.warn(
                f"{self.session.pair.name}: none of {len(values)} codes shows a face; identity is not measured"
            )
            return
        more = {"codes": len(values)}
        more |= {} if network.higher else {"same_person": fmean(value < SAME_PERSON for value in known)}
        better, about = ("higher" if network.higher else "lower"), network.about
        of = f"real and rendering of {self.session.pair.name}"
        yield Measure(network.name, fmean(known), better, of, len(known), about, pstdev(known), more)

    def _pairs(self, a: PictureSet, b: PictureSet, report: Report) -> Iterator[Measure]:
        """LPIPS and L2 of the pictures of one name."""
        common = sorted(set(a.keys) & set(b.keys))
        alone = len(set(a.keys) ^ set(b.keys))
        if alone:
            console.warn(f"{alone} pictures have no partner of the same name; LPIPS and L2 leave them out")
        if not common:
            return
        found = [self._tried(key, lambda key=key: self._compared(a, b, key), report) for key in common]
        rows = [row for row in found if row is not None]
        if rows:
            of, about = f"{a.source}, {b.source}", f"at {self.flags.compare_px} px"
            for title, values in zip((self.perceptual[1], "l2"), zip(*rows, strict=True), strict=True):
                yield Measure(title, fmean(values), "lower", of, len(values), about, pstdev(values))

    @torch.no_grad()
    def _compared(self, a: PictureSet, b: PictureSet, key: str) -> tuple[float, float]:
        """Perceptual distance and mean squared difference of values in [-1, 1]."""
        first, second = (pictures.picture(key) for pictures in (a, b))
        if first.shape != second.shape:
            sizes = " and ".join(f"{x.shape[2]}x{x.shape[1]}" for x in (first, second))
            raise ShapeMismatch(f"{key}: the two pictures are {sizes}; give pictures of one size")
        pair = [resized(scale_to_unit(x[None].to(self.session.device)), self.flags.compare_px) for x in (first, second)]
        perceptual = float(distance(*(self.perceptual[0].features(x) for x in pair))[0])
        return perceptual, float((pair[0] - pair[1]).double().square().mean())

    def _tried(self, name: str, work: Callable[[], Any], report: Report) -> Any:
        """The result, or None where a picture cannot be used, which is told once."""
        try:
            return work()
        except RefacerError as error:
            self.failures += 1
            report.add_failure(name, error)
            console.error(error)
            if self.common.fail_fast:
                raise typer.Exit(1) from error
            return None

    def _tell(self, measures: Sequence[Measure]) -> None:
        """The table on stderr, JSON where it is asked for."""
        if not self.common.quiet:
            Console(stderr=True).print(table_of(measures))
        body = {"refacer": __version__, "seed": self.common.seed, **self.session.facts()}
        text = json.dumps({**body, "measures": [asdict(measure) for measure in measures]}, indent=1)
        if self.common.json or self.common.output == "-":
            console.payload_text(text)
        if self.common.output not in (None, "-"):
            write_atomic(Path(str(self.common.output)), text.encode() + b"\n")


def _stored(image: Tensor) -> Tensor:
    """(3, H, W) in [-1, 1] -> uint8."""
    return torch.from_numpy(rgb_from_tensor(image)).permute(2, 0, 1)


def _at(picture: Tensor, side_px: int) -> Tensor:
    """A picture (3, H, W) uint8 at the generator's size."""
    return _stored(resized(scale_to_unit(picture[None]), side_px))
