"""The device, the pair and its networks, each read when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refacer import console
from refacer.commands.shared import Common, DecodeFlags, ProjectFlags
from refacer.device import choose_device
from refacer.files import Source, read_source
from refacer.images.pixels import tensor_from_rgb
from refacer.jobs.plan import Item
from refacer.networks.parser import FaceParser
from refacer.networks.perceptual import Perceptual
from refacer.networks.stylegan2.networks import Generator
from refacer.options import AlignOptions, DecodeOptions, GeneratorRole, ParserChoice, Perception, ProjectOptions
from refacer.stages.pipeline import Detector
from refacer.weights import published, terms
from refacer.weights.convert import load_generator_file
from refacer.weights.loaders import sha256_of
from refacer.weights.pairs import Pair, load_pair


@dataclass
class Session:
    """What the commands share during one call. Raises UsageError where there is no such device, at once.

    perception, parsing: which networks measure Eq. 4 and parse the new face.
    """

    common: Common
    perception: Perception = "auto"
    parsing: ParserChoice = "auto"
    _uses: dict[str, terms.Use] = field(default_factory=dict)
    _files: dict[Path, Generator] = field(default_factory=dict)
    _hashes: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.device: torch.device = choose_device(self.common.device)

    @cached_property
    def pair(self) -> Pair:
        """The chosen pair."""
        return load_pair(self.common.pair)

    def read(self, item: Item) -> Source:
        """The picture of an item."""
        return read_source(item.read(), max_pixels=self.common.max_pixels)

    def tensor(self, source: Source) -> Tensor:
        """What the stages see of a picture: (1, 3, H, W) on the device, 8 bits deep, transparent pixels over grey."""
        return tensor_from_rgb(source.rgb, self.device)

    def canvas(self, source: Source) -> Tensor:
        """What faces are pasted into: (1, 3, H, W) on the device, the picture's own colours in their own depth."""
        return tensor_from_rgb(source.native[..., :3], self.device)

    @cached_property
    def rendering(self) -> Generator:
        """The generator that `project` inverts."""
        self.note(terms.of_pair("rendering", self.pair))
        return self.pair.generator("rendering", self.device)

    @cached_property
    def real(self) -> Generator:
        """The generator that `decode` draws with."""
        self.note(terms.of_pair("real", self.pair))
        return self.pair.generator("real", self.device)

    @cached_property
    def perceptual(self) -> Perceptual:
        """The network of Eq. 4's distance."""
        if terms.perceptual_weight(self.perception):
            network: Perceptual = published.load_lpips(self.device)
        else:
            network = self.pair.perceptual(self.device)
        self.note(*terms.of_perceptual(self.perception, self.pair))
        return network

    @cached_property
    def parser(self) -> FaceParser:
        """The face parser."""
        name = terms.parser_weight(self.parsing, self.pair)
        if name is None and not self.pair.has("parser") and not self.common.quiet:
            console.warn(f"pair {self.pair.name} has no parser, the default pair's is used; bisenet would be better")
        network = published.load_parser(name, self.device) if name else self.pair.parser(self.device)
        self.note(terms.of_parser(self.parsing, self.pair))
        return network

    def detector(self, options: AlignOptions) -> Detector:
        """The detector that the options name."""
        detector = _dlib_detector() if options.detector == "dlib" else self._retinaface
        self.note(terms.of_detector(options.detector))
        return detector

    @cached_property
    def _retinaface(self) -> Detector:
        return published.load_retinaface(self.device)

    def detector_models(self, options: AlignOptions) -> dict[str, str]:
        """sha256 of what finds the landmarks."""
        return _models([terms.of_detector(options.detector)])

    def perceptual_models(self) -> dict[str, str]:
        """sha256 of what measures Eq. 4."""
        return _models(terms.of_perceptual(self.perception, self.pair))

    def perceptual_settings(self) -> Mapping[str, Any]:
        """How the pair's stand-in looks, where it measures Eq. 4; empty for LPIPS."""
        return {} if terms.perceptual_weight(self.perception) else self.pair.facts["perceptual"]

    def parser_models(self) -> dict[str, str]:
        """sha256 of what parses the new face."""
        return _models([terms.of_parser(self.parsing, self.pair)])

    def require(self, *roles: str, detector: str | None = None, perceptual: bool = False, parser: bool = False) -> None:
        """Meet weights that are not installed before the work, all in one error with one command that mends it."""
        names = [detector] if detector == "retinaface" else []
        if perceptual and (name := terms.perceptual_weight(self.perception)):
            names.append(name)
        elif perceptual and self.pair.judges_itself:
            roles = (*roles, "discriminator")
        if parser and (name := terms.parser_weight(self.parsing, self.pair)):
            names.append(name)
        published.require([*(self.pair.missing_weights(roles) if roles else []), *names])

    def generator(self, role: GeneratorRole) -> Generator:
        """One of the pair's generators."""
        return self.real if role == "real" else self.rendering

    def drawing_generator(self, role: GeneratorRole, file: Path | None) -> Generator:
        """The generator that `decode` draws with: the pair's, or that of a file."""
        if file is None:
            return self.generator(role)
        self.note(terms.of_file(role, file, self.drawing_sha256(role, file)))
        if file not in self._files:
            self._files[file] = load_generator_file(file).to(self.device)
        return self._files[file]

    def drawing_sha256(self, role: GeneratorRole, file: Path | None) -> str:
        """The sha256 of that generator's file."""
        if file is None:
            return self.pair.sha256(role)
        if file not in self._hashes:
            self._hashes[file] = sha256_of(file)
        return self._hashes[file]

    def project_options(self, flags: ProjectFlags, into: GeneratorRole = "rendering") -> ProjectOptions:
        """The stage's options, steps, rate and prior the pair's where none are given."""
        defaults = self.pair.defaults
        return ProjectOptions(
            steps=flags.steps or defaults.steps,
            lr=defaults.lr if flags.lr is None else flags.lr,
            noise_weight=flags.noise_weight,
            prior_weight=defaults.prior if flags.prior is None else flags.prior,
            into=into,
            seed=self.common.seed,
        )

    def decode_options(self, flags: DecodeFlags, into: GeneratorRole = "real") -> DecodeOptions:
        """The stage's options; the pair's own psi is that of its realistic generator."""
        psi = flags.psi
        if psi is None:
            own = into == "real" and flags.generator is None
            psi = self.pair.defaults.psi if own else DecodeOptions.truncation_psi
        return DecodeOptions(into, flags.noise, psi, self.common.seed)

    def facts(self) -> dict[str, Any]:
        """What a report's summary says about this call: the device, the pair, every weight in use and its licence.

        commercial_use: what the strictest of them allows.
        """
        known: dict[str, Any] = {"device": str(self.device)}
        if "pair" in vars(self):
            known |= {"pair": self.pair.name, "licence": self.pair.licence, "commercial": self.pair.commercial}
        if self._uses:
            uses = list(self._uses.values())
            known |= {"commercial_use": terms.commercial_use(uses), "weights": [asdict(use) for use in uses]}
        return known

    def note(self, *uses: terms.Use) -> None:
        """Remember for the report what was used."""
        self._uses |= {use.role: use for use in uses}


def _models(uses: Iterable[terms.Use]) -> dict[str, str]:
    """A passport's models: sha256 by role."""
    return {use.role: use.sha256 for use in uses}


@cache
def _dlib_detector() -> Detector:
    """dlib's detector; its file of 100 MB is read once a process."""
    from refacer.networks.landmarks import DlibLandmarks
    from refacer.weights.dlib_files import landmarks_path

    return DlibLandmarks(landmarks_path())
