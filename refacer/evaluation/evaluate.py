"""One call of `refacer eval`: what is measured, a table for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor

from refacer import __version__, console
from refacer.device import seeded_generator
from refacer.equipment import Equipment
from refacer.errors import InputRefused, RefacerError, ShapeMismatch, UsageError
from refacer.evaluation.metrics import Measure, frechet_distance, gaussian_of, kernel_distance, table_of
from refacer.evaluation.networks import FeatureNetwork, feature_network, identity_network, perceptual_network
from refacer.files import READABLE, read_source, write_atomic
from refacer.files.archives import Archives
from refacer.files.sources import Entry, is_zip, list_pictures
from refacer.images.pixels import rgb_from_tensor, scale_to_unit, snap
from refacer.images.resampling import resized
from refacer.jobs.frame import Frame
from refacer.networks.identity import SAME_PERSON
from refacer.networks.perceptual import Perceptual, distance
from refacer.networks.stylegan2.networks import Generator
from refacer.options import EvalOptions, FileOptions


def evaluate(sets: Sequence[Path], against: Sequence[Path], options: EvalOptions, files: FileOptions) -> None:
    """Measure, show, write; leaves with 1 where a picture could not be used.

    sets: two folders or zips that are compared with each other, or none; against: those that the pair is compared with.
    The pair is measured where one is named, or where there are no sets. Raises UsageError for other combinations, and
    what reading the pair, its networks or a set raises.
    """
    if len(sets) not in (0, 2):
        raise UsageError("name two folders or zips to compare, or none")
    of_pair = options.pair is not None or not sets
    if against and not of_pair:
        raise UsageError("--against measures a pair; name it with --pair")
    equipment = Equipment(options.pair, options.device)
    between, faces = ([PictureSet(path, options.max_pixels) for path in paths] for paths in (sets, against))
    for pictures in () if files.quiet else (*between, *faces):
        console.note(f"{pictures.source}: {len(pictures)} pictures")
    measures: list[Measure] = []
    # No --json for the frame: this command's is of its measures.
    told = FileOptions(report=files.report, quiet=files.quiet, fail_fast=files.fail_fast)
    with Frame(told, 0, facts=equipment.facts) as frame:
        evaluation = Evaluation(equipment, options, frame)
        since = time.perf_counter()
        for measure in evaluation.measures(of_pair, between, faces):
            frame.report.add(measure.name, "done", [], time.perf_counter() - since, asdict(measure))
            measures.append(measure)
            since = time.perf_counter()
        frame.planned = len(frame.report.results)
    _tell(measures, {"refacer": __version__, "seed": options.seed, **equipment.facts()}, files)
    frame.leave()


class PictureSet:
    """The pictures below a folder or in a zip; keys: their paths in it without suffix, sorted.

    Raises UsageError where there is none, or where two have one key; InputRefused where a part cannot be looked into.
    """

    def __init__(self, source: Path, max_pixels: int) -> None:
        self.source, self.max_pixels = source, max_pixels
        if not (source.is_dir() or is_zip(source)):
            raise InputRefused(f"{source}: neither a folder nor a zip of pictures")
        listing = list_pictures(source)
        for _, error in listing.refused:
            raise error
        self._archives, self._entries = Archives(), dict[str, Entry]()
        for entry in listing.entries:
            key = str(entry.below.with_suffix(""))
            if key in self._entries:
                raise UsageError(f"{source}: two pictures are called {key}; keep one of them")
            self._entries[key] = entry
        if not self._entries:
            raise UsageError(f"{source}: holds no picture ({' '.join(READABLE)})")
        self.keys = sorted(self._entries)

    def __len__(self) -> int:
        return len(self.keys)

    def picture(self, key: str) -> Tensor:
        """(3, H, W) uint8 of one picture; raises InputRefused."""
        data = self._entries[key].read(self._archives)
        source = read_source(data, max_pixels=self.max_pixels, name=f"{self.source}: {key}")
        return torch.from_numpy(source.rgb.copy()).permute(2, 0, 1)


class Evaluation:
    """The measures of a pair and of two sets. A picture that cannot be used is left out and told to the frame."""

    def __init__(self, equipment: Equipment, options: EvalOptions, frame: Frame) -> None:
        self.equipment, self.options, self.frame = equipment, options, frame

    def measures(self, of_pair: bool, between: Sequence[PictureSet], faces: Sequence[PictureSet]) -> Iterator[Measure]:
        """Every measure as soon as it is known: of the pair against each of `faces`, then of the two sets `between`."""
        if of_pair and faces:
            pair = self.equipment.pair
            drawn = self._features("drawing", self._drawn(), self.options.images)
            for pictures in faces:
                there = self.set_features(pictures, pair.resolution)
                yield from self.set_distances(drawn, there, f"rendering of {pair.name}, {pictures.source}")
        if of_pair and self.options.codes:
            yield from self._identity()
        if between:
            first, second = between
            both = [self.set_features(pictures, None) for pictures in between]
            if min(map(len, both)) > 1:
                yield from self.set_distances(both[0], both[1], f"{first.source}, {second.source}")
            yield from self._pairs(first, second)

    @cached_property
    def _network(self) -> FeatureNetwork:
        """What FID and KID look through."""
        return feature_network(self.equipment)

    @cached_property
    def _perceptual(self) -> tuple[Perceptual, str]:
        """What measures LPIPS' column, and the column's name."""
        return perceptual_network(self.equipment)

    def _features(self, title: str, pictures: Iterator[Tensor], total: int) -> Tensor:
        """Features (N, D) of pictures (3, H, W) uint8, in batches of one size."""
        found, waiting = [], []
        with console.bars(total, quiet=self.frame.files.quiet) as bars:
            for number, picture in enumerate(pictures):
                if waiting and (len(waiting) == self.options.batch or waiting[0].shape != picture.shape):
                    found.append(self._network.features(torch.stack(waiting)))
                    waiting = []
                    bars.show_item(title, number)
                waiting.append(picture)
        if waiting:
            found.append(self._network.features(torch.stack(waiting)))
        return torch.cat(found) if found else torch.empty(0, 1)

    def set_features(self, pictures: PictureSet, side_px: int | None) -> Tensor:
        """Features of a set, its pictures first brought to the generator's size where one is given."""

        def read() -> Iterator[Tensor]:
            for key in pictures.keys:
                picture = self._tried(f"{pictures.source}: {key}", lambda key=key: pictures.picture(key))
                if picture is not None and side_px is not None:
                    picture = _stored(resized(scale_to_unit(picture[None]), side_px))
                if picture is not None:
                    yield picture

        return self._features(str(pictures.source), read(), len(pictures))

    def _drawn(self) -> Iterator[Tensor]:
        """The rendering generator's pictures of random codes, psi 1, with random noise, as FID's protocol has it."""
        source = seeded_generator(self.options.seed)
        for z in self._z(self.options.images):
            images = self._draw(self.equipment.rendering, z, noise_mode="random", generator=source)
            yield from (_stored(image) for image in images)

    @torch.no_grad()
    def _draw(self, network: Generator, z: Tensor, **noise: Any) -> Tensor:
        """Pictures (N, 3, R, R) as their files would hold them."""
        return snap(network(z.to(self.equipment.device), **noise))

    def _z(self, count: int) -> Iterator[Tensor]:
        """`count` random z, (batch, z_dim) at a time."""
        source = seeded_generator(self.options.seed)
        for start in range(0, count, self.options.batch):
            size = min(self.options.batch, count - start)
            yield torch.randn(size, self.equipment.rendering.z_dim, generator=source)

    def set_distances(self, a: Tensor, b: Tensor, of: str) -> Iterator[Measure]:
        """FID and KID of two sets of features."""
        suffix, about, count = self._network.suffix, self._network.about, min(len(a), len(b))
        more = {"first": len(a), "second": len(b)}
        fid = frechet_distance(gaussian_of(a), gaussian_of(b))
        yield Measure(f"fid{suffix}", fid, "lower", of, count, about, more=more)
        mean, spread = kernel_distance(a, b, seed=self.options.seed)
        yield Measure(f"kid{suffix}", mean, "lower", of, count, about, spread or None, more)

    def _identity(self) -> Iterator[Measure]:
        """Both generators' faces of one code, each with its own constant noise; codes without a face are left out."""
        network, pair = identity_network(self.equipment), self.equipment.pair
        values: list[float | None] = []
        with console.bars(self.options.codes, quiet=self.frame.files.quiet) as bars:
            for number, z in enumerate(self._z(self.options.codes)):
                bars.show_item("comparing faces", number * self.options.batch)
                real = self._draw(self.equipment.real, z, noise_mode="const")
                rendering = self._draw(self.equipment.rendering, z, noise_mode="const")
                values += [network.compare(a, b) for a, b in zip(real.split(1), rendering.split(1), strict=True)]
        known = [value for value in values if value is not None]
        if not known:
            console.warn(f"{pair.name}: none of {len(values)} codes shows a face; identity is not measured")
            return
        more: dict[str, float] = {"codes": len(values)}
        if not network.higher:
            more["same_person"] = fmean(value < SAME_PERSON for value in known)
        better, of = ("higher" if network.higher else "lower"), f"real and rendering of {pair.name}"
        yield Measure(network.name, fmean(known), better, of, len(known), network.about, pstdev(known), more)

    def _pairs(self, a: PictureSet, b: PictureSet) -> Iterator[Measure]:
        """LPIPS and L2 of the pictures of one name."""
        common = sorted(set(a.keys) & set(b.keys))
        alone = len(set(a.keys) ^ set(b.keys))
        if alone:
            console.warn(f"{alone} pictures have no partner of the same name; LPIPS and L2 leave them out")
        found = [self._tried(key, lambda key=key: self._compared(a, b, key)) for key in common]
        rows = [row for row in found if row is not None]
        if rows:
            of, about = f"{a.source}, {b.source}", f"at {self.options.compare_px} px"
            for title, values in zip((self._perceptual[1], "l2"), zip(*rows, strict=True), strict=True):
                yield Measure(title, fmean(values), "lower", of, len(values), about, pstdev(values))

    @torch.no_grad()
    def _compared(self, a: PictureSet, b: PictureSet, key: str) -> tuple[float, float]:
        """Perceptual distance and mean squared difference of values in [-1, 1]."""
        first, second = a.picture(key), b.picture(key)
        if first.shape != second.shape:
            sizes = " and ".join(f"{x.shape[2]}x{x.shape[1]}" for x in (first, second))
            raise ShapeMismatch(f"{key}: the two pictures are {sizes}; give pictures of one size")
        device, side_px = self.equipment.device, self.options.compare_px
        x, y = (resized(scale_to_unit(picture[None].to(device)), side_px) for picture in (first, second))
        network = self._perceptual[0]
        return float(distance(network.features(x), network.features(y))[0]), float((x - y).double().square().mean())

    def _tried(self, name: str, work: Callable[[], Any]) -> Any:
        """The result, or None where a picture cannot be used."""
        try:
            return work()
        except RefacerError as error:
            self.frame.failed(name, error)
            return None


def _tell(measures: Sequence[Measure], about: dict[str, Any], files: FileOptions) -> None:
    """The table on stderr, JSON where it is asked for."""
    if not files.quiet:
        console.show(table_of(measures))
    text = json.dumps({**about, "measures": [asdict(measure) for measure in measures]}, indent=1)
    if files.json or files.output == "-":
        console.payload_text(text)
    if files.output not in (None, "-"):
        write_atomic(Path(str(files.output)), text.encode() + b"\n")


def _stored(image: Tensor) -> Tensor:
    """(1, 3, H, W) or (3, H, W) in [-1, 1] -> (3, H, W) uint8."""
    return torch.from_numpy(rgb_from_tensor(image)).permute(2, 0, 1)
