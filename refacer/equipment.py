"""The device, the pair and its networks, each read when it is first asked for, and the options of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from refacer.device import choose_device, suits_one_thread
from refacer.errors import ShapeMismatch, UsageError
from refacer.files.artefacts import Latents
from refacer.networks.encoders import EncoderConfig, FaceEncoder
from refacer.networks.hyperstyle import HyperConfig
from refacer.networks.parser import CLASS_IDS, FaceParser
from refacer.networks.perceptual import Perceptual
from refacer.networks.stylegan2.networks import Generator
from refacer.networks.translator import Translator
from refacer.options import (
    CHANGED_CLASSES,
    PASTED_CLASSES,
    AlignOptions,
    Choices,
    CompositeOptions,
    DecodeOptions,
    GeneratorRole,
    ParseOptions,
    Paste,
    ProjectOptions,
    TranslateOptions,
    Way,
)
from refacer.stages.pipeline import Detector, RunOptions
from refacer.types import Codes
from refacer.weights import terms
from refacer.weights.choices import Choice, RoleName, choose, require
from refacer.weights.convert import load_generator_file
from refacer.weights.formats.latents import read_latents
from refacer.weights.pair_json import EFFICIENTNET
from refacer.weights.pairs import Pair, load_pair
from refacer.weights.registry import sha256_of, weight

ENCODER = "encoder"

FURTHEST_PERCENTILE = 99
"""A projection that stays farther than so many in a hundred of the pair's own renders is outside of its range."""


class Equipment:
    """What the work is done with. Raises UsageError where there is no such device, at once.

    pair: a name or a folder, None for $REFACER_PAIR, else the embedded one; device: as `--device`.
    """

    def __init__(self, pair: str | Path | None = None, device: str = "auto", choices: Choices | None = None) -> None:
        self.choices = choices or Choices()
        self.device: torch.device = choose_device(device)
        self._pair_name = None if pair is None else str(pair)
        self._uses: dict[str, terms.Use] = {}
        self.methods: dict[GeneratorRole, Any] = {}  # ways to codes that are at work; see refacer/inverters

    @cached_property
    def options(self) -> RunOptions:
        """The options of every stage, the pair's own where none was chosen; raises UsageError for a wrong one."""
        choices = self.choices
        return RunOptions(
            align=replace(self.align_options, size=self.crop_px),
            decode=self.decode_options(),
            parse=self.parse_options(),
            composite=self.composite_options(translated=self.way == "translate"),
            translate=self.translate_options,
            limit=self.limit,
            faces=choices.faces or "all",
            batch=choices.batch,
        )

    def parse_options(self, paste: Paste | None = None) -> ParseOptions:
        """The options of the parser: the parts of Appendix B where a face is pasted, for a change the neck besides.

        paste: where it is known better than by choice. Raises UsageError for a class that does not exist.
        """
        if self.choices.classes is None:
            paste = paste or self.composite_options(translated=self.way == "translate").paste
            return ParseOptions(PASTED_CLASSES if paste == "face" else CHANGED_CLASSES)
        classes = tuple(name.strip() for name in self.choices.classes.split(","))
        for name in classes:
            if name not in CLASS_IDS:
                raise UsageError(f"--classes {name}: not a class; choose among {', '.join(CLASS_IDS)}")
        return ParseOptions(classes)

    @property
    def align_options(self) -> AlignOptions:
        """The options of the aligner, which need no pair."""
        choices = self.choices
        return AlignOptions(size=choices.size, detector=choices.detector, min_size_px=choices.min_size)

    def project_options(self, into: GeneratorRole = "rendering") -> ProjectOptions:
        """The options of the optimisation; steps, rate, prior and axes are the pair's where none were chosen.

        Raises UsageError for no steps from anywhere else, where there would be nothing to find.
        """
        choices, encoded = self.choices, self.start(into) == ENCODER
        if choices.steps == 0 and not encoded:
            raise UsageError("--steps 0: without steps a code comes from an encoder alone; use --init encoder")
        usual = self.pair.defaults.projection(encoded=encoded, axes=choices.axes)
        return replace(
            usual,
            steps=usual.steps if choices.steps is None else choices.steps,
            lr=usual.lr if choices.lr is None else choices.lr,
            noise_weight=choices.noise_weight,
            prior_weight=usual.prior_weight if choices.prior is None else choices.prior,
            into=into,
            precision=choices.precision,
            seed=choices.seed,
        )

    def decode_options(self, into: GeneratorRole = "real") -> DecodeOptions:
        """The options of drawing; the pair's own psi is that of its realistic generator."""
        psi = self.choices.psi
        if psi is None:
            own = into == "real" and self.choices.generator is None
            psi = self.pair.defaults.psi if own else DecodeOptions.truncation_psi
        return DecodeOptions(into, self.choices.noise, psi, self.choices.seed)

    def composite_options(self, *, translated: bool) -> CompositeOptions:
        """The options of pasting; how, and how strong a change is, the pair says where it was not chosen.

        A translated face is pasted as a change: the distilled network draws no face of its own. Raises UsageError for
        the change of a generator from a file, which is no partner of the pair's.
        """
        choices, defaults = self.choices, self.pair.defaults
        paste = choices.paste or defaults.paste
        if paste == "auto" and translated:
            paste = "change"
        if choices.generator and not translated:
            if choices.paste == "change":
                raise UsageError("--paste change: a generator from a file has no partner here; use --paste face")
            paste = "face"
        strength = defaults.strength if choices.strength is None else choices.strength
        color = choices.color or (
            "none" if translated else CompositeOptions.color
        )  # a translation keeps its hue itself
        return CompositeOptions(choices.erode, choices.feather, color, paste=paste, strength=strength)

    @property
    def translate_options(self) -> TranslateOptions:
        """The options of the distilled network."""
        return TranslateOptions()

    @property
    def way(self) -> Way:
        """By inversion or without, as chosen, else as the pair says."""
        return self.choices.way or self.pair.defaults.way

    @property
    def limit(self) -> float | None:
        """How far a face may be from what the pair knows; None where nobody knows, or where it was chosen not to care.

        The pair's percentiles are of its own steps and its own distance: with fewer or another they mean nothing.
        """
        if self.choices.range == "ignore":
            return None
        if self.way == "translate":
            return self.translator_limit
        known = self.pair.distances
        comparable = self.choices.inverter == "optimise" and self._as_far_as_by_default()
        own = self.choice("perceptual").network is None or self.choice("perceptual").stand_in
        return known[FURTHEST_PERCENTILE] if known and comparable and own else None

    def _as_far_as_by_default(self) -> bool:
        """Whether start and axes are the pair's, and the steps are as many as its own."""
        start, choices, defaults = self.start(), self.choices, self.pair.defaults
        encoded = self.pair.has(ENCODER) and self.encoder.config.into == "rendering"
        if start != (ENCODER if encoded else "mean") or choices.axes not in (None, defaults.axes):
            return False
        return choices.steps is None or choices.steps >= defaults.projection(encoded=encoded).steps

    @property
    def translator_limit(self) -> float | None:
        """How strange the distilled network finds all but one in a hundred of the faces it was shown as typical."""
        return float(self.translator.range_levels[FURTHEST_PERCENTILE]) or None

    @property
    def crop_px(self) -> int:
        """Side of the crops in pixels."""
        return self.choices.size or self.pair.resolution

    def at_once(self, *, inverts: bool) -> int:
        """Pictures that may be worked on at once, each in one thread, with the same pixels: one a thread of torch's.

        1 where a picture takes all threads, or all of a GPU.
        """
        return 1 if self.takes_all(inverts=inverts) else torch.get_num_threads()

    def takes_all(self, *, inverts: bool) -> bool:
        """Whether a picture takes all threads, or all of a GPU: an inversion in many pixels does."""
        return inverts and not suits_one_thread(self.device, self.resolution)

    def start(self, into: GeneratorRole = "rendering") -> str:
        """Where the optimisation starts: 'mean', 'encoder', or a file; the pair's encoder where it has one for `into`.

        Raises UsageError for an encoder of the other generator, WeightsMissing where the pair has none.
        """
        init = self.choices.init
        if init is None:
            return ENCODER if self.pair.has(ENCODER) and self.encoder.config.into == into else "mean"
        if init == ENCODER and self.encoder.config.into != into:
            own = self.encoder.config.into
            raise UsageError(f"--init encoder: the pair's encoder is its {own} generator's; use --into {own}")
        return str(init)

    @cached_property
    def init(self) -> Codes | None:
        """The code of a file to start from; None for other starts. ShapeMismatch where it is not one of this pair."""
        init = self.choices.init
        if init in (None, "mean", ENCODER):
            return None
        codes = self.latents(str(init)).values
        wanted = (1, self.pair.num_ws, self.pair.w_dim)
        if codes.shape != wanted:
            raise ShapeMismatch(f"--init {init}: shape {codes.shape}; this pair takes {wanted}")
        return codes

    @staticmethod
    def latents(codes: str | Path | bytes | Codes | Latents) -> Latents:
        """Codes in any form that is read; raises as `read_latents` does."""
        return read_latents(codes)

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

    def choice(self, role: RoleName) -> Choice:
        """The network that takes a role, not yet read; the pair is opened only where that depends on it."""
        wanted = {name: getattr(self.choices, name) for name in ("detector", "perceptual", "parser")}
        return choose(role, wanted.get(role, "auto"), lambda: self.pair)

    def _loaded(self, role: RoleName) -> Any:
        chosen = self.choice(role)
        self.note(*chosen.uses)
        return chosen.load(self.device)

    @cached_property
    def perceptual(self) -> Perceptual:
        """The network of Eq. 4's distance."""
        return self._loaded("perceptual")

    @cached_property
    def parser(self) -> FaceParser:
        """The face parser."""
        return self._loaded("parser")

    @cached_property
    def detector(self) -> Detector:
        """What finds faces and their landmarks."""
        return self._loaded("detector")

    @cached_property
    def translator(self) -> Translator:
        """The pair's distilled network."""
        self.note(terms.of_pair("translator", self.pair))
        network = self.pair.network("translator").to(self.device)
        assert isinstance(network, Translator)
        return network

    @cached_property
    def encoder(self) -> FaceEncoder:
        """The pair's own encoder; raises WeightsMissing where it has none."""
        network = self.pair.network(ENCODER).to(self.device)
        assert isinstance(network, FaceEncoder)
        self.note(terms.of_pair(ENCODER, self.pair), *terms.of_trunk(network.config))
        return network

    @property
    def encoder_models(self) -> dict[str, str]:
        """sha256 of the pair's encoder, and of what it looks through."""
        return {ENCODER: self.pair.sha256(ENCODER)} | trunk_model(self.encoder.config)

    def require(self, *roles: str, detector: bool = False, perceptual: bool = False, parser: bool = False) -> None:
        """Meet weights that are not installed before the work, all in one error with one command that mends it."""
        asked: dict[RoleName, bool] = {"detector": detector, "perceptual": perceptual, "parser": parser}
        require([self.choice(role) for role in asked if asked[role]], roles, self.pair if roles else None)
        if self._generator_file:
            self.drawing_generator()  # a file that is refused is met once, not in every picture

    def borrows_parser(self) -> bool:
        """Whether the default pair's parser serves because this pair has none."""
        return self.choice("parser").stand_in

    def detector_models(self) -> Mapping[str, str]:
        """sha256 of what finds the landmarks."""
        return self.choice("detector").models

    def perceptual_models(self) -> Mapping[str, str]:
        """sha256 of what measures Eq. 4."""
        return self.choice("perceptual").models

    def perceptual_settings(self) -> Mapping[str, Any]:
        """How the pair's stand-in looks, where it measures Eq. 4; empty for LPIPS."""
        return self.choice("perceptual").settings

    def parser_models(self) -> Mapping[str, str]:
        """sha256 of what parses the new face."""
        return self.choice("parser").models

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


def trunk_model(config: EncoderConfig | HyperConfig) -> dict[str, str]:
    """sha256 of the network that an encoder looks through, where that is another's."""
    return {"trunk": str(weight(EFFICIENTNET).sha256)} if config.borrows_trunk else {}
