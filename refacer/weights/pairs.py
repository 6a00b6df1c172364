"""Pairs: a realistic generator, a rendering generator that shares its W+ space, and what goes with them.

A pair is a folder with `pair.json` and safetensors files. A network is named by sha256; a file that is not in the
folder is looked for among the installed weights and in the embedded pairs. An installed generator is a pair too, one
without a rendering generator: what `finetune --base` starts from.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from refacer.errors import InputRefused, UsageError, WeightsMissing
from refacer.networks.parser import FaceParser
from refacer.networks.perceptual import DiscriminatorFeatures, Perceptual, WithParts
from refacer.networks.stylegan2.networks import Discriminator, Generator
from refacer.options import DEFAULT_PAIR, DecodeOptions, ProjectOptions
from refacer.weights import cache, registry
from refacer.weights.efficientnet_file import EFFICIENTNET, efficientnet_sha256, load_efficientnet_features
from refacer.weights.formats.bounded import shown
from refacer.weights.loaders import (
    encode_network,
    load_discriminator,
    load_generator,
    load_studio_parser,
    sha256_of,
)

PAIR_FILE = "pair.json"
PAIR_FORMAT = 1
MAX_SIZE = 1 << 20  # of anything counted
EMBEDDED = Path(__file__).parent
DISCRIMINATOR = "discriminator"
"""What a pair names as its perceptual network: this, its own, or EFFICIENTNET."""

NETWORK_ROLES = ("real", "rendering", "discriminator", "parser")


@dataclass(frozen=True)
class PairDefaults:
    """The pair's own settings of `project` and, psi, of how `decode` draws with its realistic generator."""

    steps: int
    lr: float
    psi: float = DecodeOptions.truncation_psi
    prior: float = ProjectOptions.prior_weight


@dataclass(frozen=True)
class Pair:
    """An opened pair; networks are read when they are asked for.

    resolution in pixels; w_std: the spread of w (facts 4), one number.
    """

    folder: Path
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the pair calls itself."""
        return str(self.facts["name"])

    @property
    def resolution(self) -> int:
        """Side of the generators' pictures in pixels."""
        return int(self.facts["resolution"])

    @property
    def num_ws(self) -> int:
        """Codes a picture takes."""
        return int(self.facts["num_ws"])

    @property
    def w_dim(self) -> int:
        """Length of one code."""
        return int(self.facts["w_dim"])

    @property
    def w_std(self) -> float:
        """Spread of w around w_avg."""
        return float(self.facts["w_std"])

    @property
    def licence(self) -> str:
        """Licence of the pair's own files."""
        return str(self.facts["licence"])

    @property
    def commercial(self) -> str:
        """'yes', 'no' or 'unclear'."""
        return str(self.facts["commercial"])

    @property
    def defaults(self) -> PairDefaults:
        """The pair's own settings of `project` and `decode`."""
        return PairDefaults(**self.facts["defaults"])

    def has(self, role: str) -> bool:
        """Whether the pair names a network for this role."""
        return role in self.facts["networks"]

    def sha256(self, role: str) -> str:
        """sha256 of the file behind a role; a perceptual stand-in's is that of its network."""
        if role == "perceptual" and self.facts["perceptual"].get("network") == EFFICIENTNET:
            return efficientnet_sha256()
        owner = self.parser_owner() if role == "parser" else self
        return str(owner._entry("discriminator" if role == "perceptual" else role)["sha256"])

    def weight_name(self, role: str) -> str | None:
        """The weight of the registry that a network was taken from, where pair.json says so."""
        return self.facts["networks"].get(role, {}).get("weight")

    @property
    def installed(self) -> bool:
        """Whether other pairs find this one's files by their sha256."""
        return self.folder.parent in (EMBEDDED, cache.root())

    def network(self, role: str) -> nn.Module:
        """The network behind a role, on the CPU."""
        loaders = {"discriminator": load_discriminator, "parser": load_studio_parser}
        return loaders.get(role, load_generator)(self.path(role))

    def generator(self, role: str, device: torch.device) -> Generator:
        """'real' or 'rendering', float32, eval, without gradients."""
        return load_generator(self.path(role)).to(device)

    def discriminator(self, device: torch.device) -> Discriminator:
        """The discriminator that the pair carries."""
        return load_discriminator(self.path("discriminator")).to(device)

    def perceptual(self, device: torch.device) -> Perceptual:
        """The pair's own stand-in for LPIPS in Eq. 4; it may look at eyes and mouth once more."""
        whole, parts = self.whole_perceptual(device), self.facts["perceptual"].get("parts")
        return WithParts(whole, **parts).to(device).eval() if parts else whole

    def whole_perceptual(self, device: torch.device) -> Perceptual:
        """The same for any two pictures, aligned faces or not."""
        settings = {key: value for key, value in self.facts["perceptual"].items() if key != "parts"}
        network = settings.pop("network", DISCRIMINATOR)
        if network == EFFICIENTNET:
            return load_efficientnet_features(**settings).to(device)
        if network != DISCRIMINATOR:
            raise InputRefused(f"pair {self.name} names an unknown perceptual network: {network}")
        return DiscriminatorFeatures(self.discriminator(device), **settings).to(device).eval()

    def parser(self, device: torch.device) -> FaceParser:
        """The pair's face parser; the default pair's where it has none."""
        return load_studio_parser(self.parser_owner().path("parser")).to(device)

    def path(self, role: str) -> Path:
        """The verified file behind a role."""
        entry = self._entry(role)
        found = _file_with_hash(self.folder, entry) or _installed_file(entry["sha256"])
        for folder in () if found else _embedded_pairs():
            found = found or _file_with_hash(folder, entry)
        if found:
            return found
        name = entry.get("weight")
        mend = f"run `refacer weights pull {name}`" if name else "put its file beside pair.json"
        raise WeightsMissing(f"pair {self.name}: its {role} network ({entry['sha256'][:12]}…) is not installed; {mend}")

    def missing_weights(self, roles: Iterable[str]) -> list[str]:
        """Weights of the registry that these networks are taken from and that are not installed.

        Raises WeightsMissing where the pair does not carry one of them.
        """
        named = [entry for entry in map(self._entry, roles) if "weight" in entry]
        return [
            entry["weight"]
            for entry in named
            if not cache.owner_of(entry["sha256"]) and not _file_with_hash(self.folder, entry)
        ]

    @property
    def judges_itself(self) -> bool:
        """Whether the stand-in for LPIPS is the pair's own discriminator."""
        return self.facts["perceptual"].get("network", DISCRIMINATOR) == DISCRIMINATOR

    def parser_owner(self) -> Pair:
        """This pair, or the embedded default where it carries no parser."""
        return self if self.has("parser") else load_pair(DEFAULT_PAIR)

    def _entry(self, role: str) -> Mapping[str, str]:
        try:
            return self.facts["networks"][role]
        except KeyError:
            raise WeightsMissing(f"pair {self.name} carries no {role}; {self._advice(role)}") from None

    def _advice(self, role: str) -> str:
        """What to do about a network that the pair does not have."""
        if role == "rendering":
            return f"learn one with `refacer finetune FACES --base {self.name} -o RUN` and give --pair RUN"
        if role == "discriminator":
            return "run `refacer weights pull vgg16` to measure with LPIPS"
        return "choose another with --pair"


def load_pair(name: str | None = None) -> Pair:
    """Open a pair by name or folder; None means $REFACER_PAIR, else 'studio'."""
    wanted = name or os.environ.get("REFACER_PAIR") or DEFAULT_PAIR
    for folder in (Path(wanted), EMBEDDED / wanted, cache.root() / wanted):
        if (folder / PAIR_FILE).is_file():
            return Pair(folder, _read_facts(folder / PAIR_FILE))
    if Path(wanted).is_dir():
        raise UsageError(f"{wanted}: not a pair, it has no {PAIR_FILE}; give a finished run of `refacer finetune`")
    entry = registry.find(wanted)
    if entry and entry.role == "generator":
        raise WeightsMissing(f"pair {wanted}: not installed; run `refacer weights pull {wanted}`")
    names = [p.name for p in (*_embedded_pairs(), *_pairs_of(cache.root()))]
    raise WeightsMissing(f"pair {wanted}: not installed; installed: {', '.join(names)}")


def encode_files(
    networks: Mapping[str, nn.Module], facts: Mapping[str, Any], named: Mapping[str, str]
) -> dict[str, bytes]:
    """The files of a pair: networks by role to store here, and sha256s by role of those kept elsewhere.

    One that is kept among the installed weights is named by its weight too, so that another machine can get it.
    """
    files = {
        f"{role}.safetensors": encode_network(module, *describe(role, module)) for role, module in networks.items()
    }
    entries: dict[str, Any] = {role: {"sha256": digest, **_origin(digest)} for role, digest in named.items()}
    for role in networks:
        data = files[f"{role}.safetensors"]
        entries[role] = {"file": f"{role}.safetensors", "sha256": hashlib.sha256(data).hexdigest()}
    body = {"format": PAIR_FORMAT, **facts, "networks": entries}
    return {**files, PAIR_FILE: json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"}


def describe(role: str, module: nn.Module) -> tuple[str, dict[str, Any]]:
    """Kind and configuration of a network, as its file's metadata hold them."""
    kind = "generator" if role in ("real", "rendering") else role
    config = module.config  # every network of a pair carries its own
    return kind, config if isinstance(config, dict) else config.to_dict()  # type: ignore[union-attr]


def _read_facts(path: Path) -> Mapping[str, Any]:
    """pair.json, checked for what the program reads from it."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputRefused(f"{path}: not a pair description") from error
    if wrong := _misfit(facts):
        raise InputRefused(f"{path}: not a pair description of format {PAIR_FORMAT} ({wrong})")
    return facts


def _misfit(facts: Any) -> str | None:
    """What keeps a JSON value from describing a pair; None where nothing does."""
    if type(facts) is not dict:
        return "no object"
    for name, fits in FACTS.items():
        if name not in facts:
            return f"{name} is missing"
        if not fits(facts[name]):
            return f"{name} cannot be {shown(repr(facts[name]))}"
    return None


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_SIZE


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _are_parts(value: Any) -> bool:
    return value is None or (
        type(value) is dict and value.keys() == {"side_px", "weight"} and _is_size(value["side_px"])
        and type(value["weight"]) in (int, float) and 0 < value["weight"] < 1
    )  # fmt: skip


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_network(value: Any) -> bool:
    return type(value) is dict and "sha256" in value and all(map(_is_text, value.values()))


FACTS: Mapping[str, Callable[[Any], bool]] = {
    "format": lambda value: value == PAIR_FORMAT,
    **dict.fromkeys(("name", "licence"), _is_text),
    "commercial": lambda value: value in registry.SEVERITY,
    **dict.fromkeys(("resolution", "num_ws", "w_dim"), _is_size),
    "w_std": _is_positive,
    "defaults": lambda value: (
        type(value) is dict and {"steps", "lr"} <= value.keys() <= {"steps", "lr", "psi", "prior"}
        and _is_size(value["steps"]) and _is_weight(value.get("prior", 0))
        and _is_positive(value["lr"]) and _is_positive(value.get("psi", 1)) and value.get("psi", 1) <= 1
    ),
    "networks": lambda value: type(value) is dict and all(map(_is_network, value.values())),
    "perceptual": lambda value: (
        type(value) is dict and value.keys() <= {"network", "input_px", "blocks", "weights", "parts"}
        and _are_parts(value.get("parts"))
    ),
}  # fmt: skip
"""What pair.json must say, and whether a value will do."""


def _embedded_pairs() -> list[Path]:
    return _pairs_of(EMBEDDED)


def _pairs_of(folder: Path) -> list[Path]:
    return sorted(p.parent for p in folder.glob(f"[!.]*/{PAIR_FILE}"))


def _installed_file(sha256: str) -> Path | None:
    """A file among the installed weights, verified; raises InputRefused where it is damaged."""
    owner = cache.owner_of(sha256)
    files = owner.record.files if owner else {}
    return next((owner.path(name) for name, digest in files.items() if owner and digest == sha256), None)


def _origin(sha256: str) -> dict[str, str]:
    """The name of the installed weight that holds a network."""
    owner = cache.owner_of(sha256)
    return {"weight": owner.record.name} if owner else {}


def _file_with_hash(folder: Path, entry: Mapping[str, str]) -> Path | None:
    """The file of `folder` with the entry's sha256: the one it names, else any safetensors file."""
    named = folder / entry["file"] if "file" in entry else None
    candidates = [named] if named and named.is_file() else sorted(folder.glob("*.safetensors"))
    return next((path for path in candidates if sha256_of(path) == entry["sha256"]), None)
