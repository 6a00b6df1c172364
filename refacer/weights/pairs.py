"""Pairs: a realistic generator, a rendering generator that shares its W+ space, and what goes with them.

A pair is a folder with `pair.json` and safetensors files. A network is named by sha256; a file that is not in the
folder is looked for among the installed weights and in the embedded pairs. An installed generator is a pair too, one
without a rendering generator: what `finetune --base` starts from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from refacer.errors import UsageError, WeightsMissing
from refacer.networks.stylegan2.networks import Discriminator, Generator
from refacer.options import DEFAULT_PAIR
from refacer.weights import cache, registry
from refacer.weights.loaders import (
    encode_network,
    load_discriminator,
    load_generator,
    load_studio_parser,
    load_translator,
)
from refacer.weights.pair_json import PAIR_FILE, PAIR_FORMAT, PairDefaults, encode_facts, read_facts
from refacer.weights.published import load_pair_encoder, load_pair_hyperstyle
from refacer.weights.registry import sha256_of

EMBEDDED = Path(__file__).parent


@dataclass(frozen=True)
class PairNetwork:
    """A network that a pair can carry. kind: as its file calls it; load: reads that file; lacking: what helps."""

    kind: str
    load: Callable[[Path], nn.Module]
    lacking: str = "choose another with --pair"


NETWORKS: Mapping[str, PairNetwork] = {
    "real": PairNetwork("generator", load_generator),
    "rendering": PairNetwork(
        "generator",
        load_generator,
        "learn one with `refacer finetune FACES --base {pair} -o RUN` and give --pair RUN",
    ),
    "discriminator": PairNetwork(
        "discriminator", load_discriminator, "run `refacer weights pull vgg16` to measure with LPIPS"
    ),
    "parser": PairNetwork("parser", load_studio_parser),
    "translator": PairNetwork(
        "translator", load_translator, "train one with `refacer distill --pair {pair} -o RUN`, or use --way project"
    ),
    "encoder": PairNetwork(
        "encoder",
        load_pair_encoder,
        "train one with `refacer train-encoder FACES --pair {pair} -o RUN`, or use --init mean",
    ),
    "hyperstyle": PairNetwork(
        "hyperstyle-pair",
        load_pair_hyperstyle,
        "train one with `refacer train-encoder FACES --kind hyperstyle --pair {pair} -o RUN`",
    ),
}
"""Every network by its role. A pair has the realistic generator at least; the others are optional."""


@dataclass(frozen=True)
class Pair:
    """An opened pair; networks are read when they are asked for.

    facts: pair.json as read and checked.
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
        """How many codes of W+ make one picture."""
        return int(self.facts["num_ws"])

    @property
    def w_dim(self) -> int:
        """Numbers in one code."""
        return int(self.facts["w_dim"])

    @property
    def w_std(self) -> float:
        """Spread of w around w_avg: the root of the mean squared distance, one number."""
        return float(self.facts["w_std"])

    @property
    def licence(self) -> str:
        """Licence of the pair's own files."""
        return str(self.facts["licence"])

    @property
    def commercial(self) -> str:
        """Whether the pair's own files may be used commercially: 'yes', 'no' or 'unclear'."""
        return str(self.facts["commercial"])

    @property
    def defaults(self) -> PairDefaults:
        """The pair's own settings of `project` and `decode`."""
        return PairDefaults(**self.facts["defaults"])

    @property
    def distances(self) -> Sequence[float]:
        """Percentiles 0 to 100 of how far projections of the pair's own renders stay (Eq. 4); empty if unknown."""
        return self.facts.get("range", {}).get("distance", ())

    def has(self, role: str) -> bool:
        """Whether the pair names a network for this role."""
        return role in self.facts["networks"]

    def sha256(self, role: str) -> str:
        """sha256 of the file behind a role."""
        return str(self._entry(role)["sha256"])

    def weight_name(self, role: str) -> str | None:
        """The weight of the registry that a network was taken from, where pair.json says so."""
        return self.facts["networks"].get(role, {}).get("weight")

    @property
    def installed(self) -> bool:
        """Whether other pairs find this one's files by their sha256."""
        return self.folder.parent in (EMBEDDED, cache.root())

    def network(self, role: str) -> nn.Module:
        """The network behind a role, on the CPU."""
        return NETWORKS[role].load(self.path(role))

    def generator(self, role: str, device: torch.device) -> Generator:
        """'real' or 'rendering', float32, eval, without gradients."""
        return load_generator(self.path(role)).to(device)

    def discriminator(self, device: torch.device) -> Discriminator:
        """The discriminator that the pair carries."""
        return load_discriminator(self.path("discriminator")).to(device)

    def path(self, role: str) -> Path:
        """The verified file behind a role; raises WeightsMissing, or InputRefused where an installed one is damaged."""
        entry = self._entry(role)
        if found := self.own_file(role):
            return found
        if owner := cache.owner_of(entry["sha256"]):
            return owner.path(next(name for name, digest in owner.record.files.items() if digest == entry["sha256"]))
        for folder in _pairs_of(EMBEDDED):
            if found := _file_with_hash(folder, entry):
                return found
        name = entry.get("weight")
        mend = f"run `refacer weights pull {name}`" if name else "put its file beside pair.json"
        raise WeightsMissing(f"pair {self.name}: its {role} network ({entry['sha256'][:12]}…) is not installed; {mend}")

    def own_file(self, role: str) -> Path | None:
        """The file behind a role in the pair's own folder; None where it is kept elsewhere."""
        return _file_with_hash(self.folder, self._entry(role))

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

    def _entry(self, role: str) -> Mapping[str, str]:
        try:
            return self.facts["networks"][role]
        except KeyError:
            mend = NETWORKS[role].lacking.format(pair=self.name)
            raise WeightsMissing(f"pair {self.name} carries no {role}; {mend}") from None


def load_pair(name: str | None = None) -> Pair:
    """Open a pair by name or folder; None means $REFACER_PAIR, else 'studio'."""
    wanted = name or os.environ.get("REFACER_PAIR") or DEFAULT_PAIR
    for folder in (Path(wanted), EMBEDDED / wanted, cache.root() / wanted):
        if (folder / PAIR_FILE).is_file():
            return Pair(folder, read_facts(folder / PAIR_FILE))
    if Path(wanted).is_dir():
        raise UsageError(f"{wanted}: not a pair, it has no {PAIR_FILE}; give a finished run of `refacer finetune`")
    entry = registry.find(wanted)
    if entry and entry.role == "generator":
        raise WeightsMissing(f"pair {wanted}: not installed; run `refacer weights pull {wanted}`")
    names = [p.name for p in (*_pairs_of(EMBEDDED), *_pairs_of(cache.root()))]
    raise WeightsMissing(f"pair {wanted}: not installed; installed: {', '.join(names)}")


def encode_beside(
    pair: Pair, networks: Mapping[str, nn.Module], facts: Mapping[str, Any], shared: Sequence[str]
) -> dict[str, bytes]:
    """The files of a pair with `networks` of its own and, where `pair` has them, its networks of the roles `shared`.

    What every pair finds by its sha256 is named by it; what lies in the folder of `pair` alone is copied as it is.
    """
    roles = [role for role in shared if pair.has(role) and role not in networks]
    found = {} if pair.installed else {role: pair.own_file(role) for role in roles}
    copied = {role: path.read_bytes() for role, path in found.items() if path}
    named = {role: pair.sha256(role) for role in roles if role not in copied}
    return encode_files(networks, facts, named, copied)


def encode_files(
    networks: Mapping[str, nn.Module],
    facts: Mapping[str, Any],
    named: Mapping[str, str],
    copied: Mapping[str, bytes] = MappingProxyType({}),
) -> dict[str, bytes]:
    """The files of a pair by name: networks to store here, files to take as they are, sha256s of those kept elsewhere.

    All are by role. One that is kept among the installed weights is named by its weight too, so that another machine
    can get it.
    """
    files: dict[str, bytes] = {}
    for role, module in networks.items():
        config: Any = module.config  # every network of a pair carries its own
        config = config if isinstance(config, dict) else config.to_dict()
        files[f"{role}.safetensors"] = encode_network(module, NETWORKS[role].kind, config)
    files |= {f"{role}.safetensors": data for role, data in copied.items()}
    entries: dict[str, dict[str, str]] = {}
    for role, digest in named.items():
        owner = cache.owner_of(digest)
        entries[role] = {"sha256": digest, **({"weight": owner.record.name} if owner else {})}
    for role in (*networks, *copied):
        data = files[f"{role}.safetensors"]
        entries[role] = {"file": f"{role}.safetensors", "sha256": hashlib.sha256(data).hexdigest()}
    body = {"format": PAIR_FORMAT, **facts, "networks": entries}
    return {**files, PAIR_FILE: encode_facts(body)}


def _pairs_of(folder: Path) -> list[Path]:
    return sorted(p.parent for p in folder.glob(f"[!.]*/{PAIR_FILE}"))


def _file_with_hash(folder: Path, entry: Mapping[str, str]) -> Path | None:
    """The file of `folder` with the entry's sha256: the one it names, else any safetensors file."""
    named = folder / entry["file"] if "file" in entry else None
    candidates = [named] if named and named.is_file() else sorted(folder.glob("*.safetensors"))
    return next((path for path in candidates if sha256_of(path) == entry["sha256"]), None)
