"""The device, the pair and its networks, each read when it is first asked for, and the options of every stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refacer.device import choose_device
from refacer.errors import ShapeMismatch, UsageError
from refacer.files.artefacts import Latents
from refacer.networks.landmarks import DlibLandmarks
from refacer.networks.parser import CLASS_IDS, FaceParser
from refacer.networks.perceptual import Perceptual
from refacer.networks.stylegan2.networks import Generator
from refacer.options import (
    AlignOptions,
    Choices,
    CompositeOptions,
    DecodeOptions,
    GeneratorRole,
    ParseOptions,
    ProjectOptions,
)
from refacer.stages.pipeline import Detector, Networks, RunOptions
from refacer.types import Codes
from refacer.weights import published, terms
from refacer.weights.convert import load_generator_file
from refacer.weights.dlib_files import landmarks_path
from refacer.weights.loaders import sha256_of
from refacer.weights.pairs import Pair, load_pair


class Equipment:
    """What the work is done with. Raises UsageError where there is no such device, at once.

    pair: a name or a folder, None for $REFACER_PAIR, else the embedded one; device: as `--device`.
    """

    def __init__(self, pair: str | Path | None = None, device: str = "auto", choices: Choices | None = None) -> None:
        self.choices = choices or Choices()
        self.device: torch.device = choose_device(device)
        self._pair_name = None if pair is None else str(pair)
        self._uses: dict[str, terms.Use] = {}

    @cached_property
    def options(self) -> RunOptions:
        """The options of every stage, the pair's own where none was chosen; raises UsageError for a wrong one."""
        choices = self.choices
        classes = tuple(name.strip() for name in choices.classes.split(","))
        for name in classes:
            if name not in CLASS_IDS:
                raise UsageError(f"--classes {name}: not a class; choose among {', '.join(CLASS_IDS)}")
        return RunOptions(
            align=self.align_options,
            project=self.project_options(),
            decode=self.decode_options(),
            parse=ParseOptions(classes),
            composite=CompositeOptions(choices.erode, choices.feather, choices.color),
            faces=choices.faces or "all",
            batch=choices.batch,
        )

    @property
    def align_options(self) -> AlignOptions:
        """The options of the aligner, which need no pair."""
        choices = self.choices
        return AlignOptions(size=choices.size, detector=choices.detector, min_size_px=choices.min_size)

    def project_options(self, into: GeneratorRole = "rendering") -> ProjectOptions:
        """The options of the inversion; steps, rate and prior are the pair's where none were chosen."""
        choices, defaults = self.choices, self.pair.defaults
        return ProjectOptions(
            steps=choices.steps or defaults.steps,
            lr=defaults.lr if choices.lr is None else choices.lr,
            noise_weight=choices.noise_weight,
            prior_weight=defaults.prior if choices.prior is None else choices.prior,
            into=into,
            seed=choices.seed,
        )

    def decode_options(self, into: GeneratorRole = "real") -> DecodeOptions:
        """The options of drawing; the pair's own psi is that of its realistic generator."""
        psi = self.choices.psi
        if psi is None:
            own = into == "real" and self.choices.generator is None
            psi = self.pair.defaults.psi if own else DecodeOptions.truncation_psi
        return DecodeOptions(into, self.choices.noise, psi, self.choices.seed)

    @property
    def crop_px(self) -> int:
        """Side of the crops in pixels."""
        return self.choices.size or self.pair.resolution

    @cached_property
    def init(self) -> Codes | None:
        """The code to start from; None for the average. Raises ShapeMismatch where it is not one code of this pair."""
        init = self.choices.init
        if init == "mean":
            return None
        codes = Latents.read(init).values
        wanted = (1, self.pair.num_ws, self.pair.w_dim)
        if codes.shape != wanted:
            raise ShapeMismatch(f"--init {init}: shape {codes.shape}; this pair takes {wanted}")
        return codes

    @property
    def init_codes(self) -> Tensor | None:
        """The same on the device."""
        return None if self.init is None else torch.from_numpy(self.init).to(self.device)

    @cached_property
    def pair(self) -> Pair:
        """The chosen pair."""
        return load_pair(self._pair_name)

    @property
    def resolution(self) -> int:
        """Side of the generators' pictures in pixels."""
        return self.pair.resolution

    @property
    def w_std(self) -> float:
        """Spread of w."""
        return self.pair.w_std

    @cached_property
    def rendering(self) -> Generator:
        """The generator that is inverted."""
        self.note(terms.of_pair("rendering", self.pair))
        return self.pair.generator("rendering", self.device)

    @cached_property
    def real(self) -> Generator:
        """The pair's realistic generator."""
        self.note(terms.of_pair("real", self.pair))
        return self.pair.generator("real", self.device)

    def generator(self, role: GeneratorRole) -> Generator:
        """One of the pair's generators."""
        return self.real if role == "real" else self.rendering

    def drawing_generator(self, role: GeneratorRole = "real") -> Generator:
        """The generator that decodes: the chosen file's, else the pair's."""
        file = self._generator_file
        if file is None:
            return self.generator(role)
        self.note(terms.of_file(role, file, self._file_sha256))
        return self._file_generator

    @cached_property
    def _generator_file(self) -> Path | None:
        chosen = self.choices.generator
        return None if chosen is None else Path(chosen)

    @cached_property
    def _file_generator(self) -> Generator:
        assert self._generator_file is not None
        return load_generator_file(self._generator_file).to(self.device)

    @cached_property
    def _file_sha256(self) -> str:
        assert self._generator_file is not None
        return sha256_of(self._generator_file)

    @cached_property
    def perceptual(self) -> Perceptual:
        """The network of Eq. 4's distance."""
        self.note(*terms.of_perceptual(self.choices.perceptual, self.pair))
        if terms.perceptual_weight(self.choices.perceptual):
            return published.load_lpips(self.device)
        return self.pair.perceptual(self.device)

    @cached_property
    def parser(self) -> FaceParser:
        """The face parser."""
        self.note(terms.of_parser(self.choices.parser, self.pair))
        name = terms.parser_weight(self.choices.parser, self.pair)
        return published.load_parser(name, self.device) if name else self.pair.parser(self.device)

    @cached_property
    def detector(self) -> Detector:
        """What finds faces and their landmarks."""
        self.note(terms.of_detector(self.choices.detector))
        if self.choices.detector == "dlib":
            return _dlib_detector()
        return published.load_retinaface(self.device)

    def networks(self) -> Networks:
        """All that the whole job needs."""
        return Networks(
            detector=self.detector,
            rendering=self.rendering,
            real=self.drawing_generator(),
            perceptual=self.perceptual,
            parser=self.parser if self.choices.mask == "auto" else None,
            w_std=self.w_std,
        )

    def require(self, *roles: str, detector: bool = False, perceptual: bool = False, parser: bool = False) -> None:
        """Meet weights that are not installed before the work, all in one error with one command that mends it."""
        names = [self.choices.detector] if detector and self.choices.detector == "retinaface" else []
        if perceptual and (name := terms.perceptual_weight(self.choices.perceptual)):
            names.append(name)
        elif perceptual and self.pair.judges_itself:
            roles = (*roles, "discriminator")
        if parser and (name := terms.parser_weight(self.choices.parser, self.pair)):
            names.append(name)
        published.require([*(self.pair.missing_weights(roles) if roles else []), *names])
        if self._generator_file:
            self.drawing_generator()  # a file that is refused is met once, not in every picture

    def borrows_parser(self) -> bool:
        """Whether the default pair's parser serves because this pair has none."""
        return terms.parser_weight(self.choices.parser, self.pair) is None and not self.pair.has("parser")

    def detector_models(self) -> Mapping[str, str]:
        """sha256 of what finds the landmarks."""
        return _models([terms.of_detector(self.choices.detector)])

    def perceptual_models(self) -> Mapping[str, str]:
        """sha256 of what measures Eq. 4."""
        return _models(terms.of_perceptual(self.choices.perceptual, self.pair))

    def perceptual_settings(self) -> Mapping[str, Any]:
        """How the pair's stand-in looks, where it measures Eq. 4; empty for LPIPS."""
        return {} if terms.perceptual_weight(self.choices.perceptual) else self.pair.facts["perceptual"]

    def parser_models(self) -> Mapping[str, str]:
        """sha256 of what parses the new face."""
        return _models([terms.of_parser(self.choices.parser, self.pair)])

    def generator_sha256(self, role: GeneratorRole, *, drawing: bool) -> str:
        """sha256 of a generator's file; drawing: of the one that decodes."""
        return self._file_sha256 if drawing and self._generator_file else self.pair.sha256(role)

    def note(self, *uses: terms.Use) -> None:
        """Remember for the report what was used."""
        self._uses |= {use.role: use for use in uses}

    def facts(self) -> dict[str, Any]:
        """What a report's summary says: the device, the pair, every weight in use and its licence.

        commercial_use: what the strictest of them allows.
        """
        known: dict[str, Any] = {"device": str(self.device)}
        if "pair" in self.__dict__:  # a command that reads no pair says nothing of one
            known |= {"pair": self.pair.name, "licence": self.pair.licence, "commercial": self.pair.commercial}
        if self._uses:
            uses = list(self._uses.values())
            known |= {"commercial_use": terms.commercial_use(uses), "weights": [asdict(use) for use in uses]}
        return known


def _models(uses: Sequence[terms.Use]) -> dict[str, str]:
    """A passport's models: sha256 by role."""
    return {use.role: use.sha256 for use in uses}


@cache
def _dlib_detector() -> Detector:
    """dlib's detector; its file of 100 MB is read once a process."""
    return DlibLandmarks(landmarks_path())
