"""Which network takes a role, given what is installed and what the pair brings: one table that everyone asks.

A new network is a loader in `published.py` and a row of ROLES here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import torch

from refacer.errors import InputRefused, UsageError
from refacer.networks.encoders import FaceEncoder
from refacer.networks.hyperstyle import HyperStyle
from refacer.networks.perceptual import DiscriminatorFeatures, WithParts
from refacer.networks.sketch import LineExtractor
from refacer.options import DEFAULT_PAIR
from refacer.weights import cache, published, registry, terms
from refacer.weights.pair_json import DISCRIMINATOR, EFFICIENTNET
from refacer.weights.pairs import NETWORKS, Pair, load_pair

RoleName = Literal["detector", "perceptual", "parser", "identity", "features", "encoder", "sketch", "clip"]
PairOrOpener = Pair | Callable[[], Pair] | None
"""A pair, or a function that opens it, called only where the choice depends on the pair; None where there is none."""

OWN, DEFAULT_OWN = "pair", "default pair"
"""In the order of a role: the pair's own network, and the embedded default pair's."""


@dataclass(frozen=True)
class Network:
    """A network of others that can take a role.

    label: for people and logs. weights: names in the registry by the role that reports and passports give them, the
    network itself first. load: (device, **settings of the pair) -> the network. stand_in: whether it only stands in for
    what the paper uses. packages: optional ones that it needs.
    """

    label: str
    weights: Mapping[str, str]
    load: Callable[..., Any]
    stand_in: bool = False
    packages: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether it can be loaded now; weights that come with refacer's own dependencies count as here."""
        return not self.missing() and all(find_spec(name) for name in self.packages)

    def missing(self) -> list[str]:
        """Weights that have to be pulled first."""
        names = self.weights.values()
        return [name for name in names if not registry.weight(name).package and not cache.installed(name)]


@dataclass(frozen=True)
class Role:
    """networks: by the names that options use; order: what 'auto' tries, the first that is there wins."""

    networks: Mapping[str, Network]
    order: tuple[str, ...]


ENCODERS = {"psp": "pSp", "e4e": "e4e", "restyle-psp": "ReStyle-pSp", "restyle-e4e": "ReStyle-e4e"}
"""Published encoders that `project --inverter` takes, and their names for people."""

LITE = "EfficientNet-Lite0 (stand-in)"
ROLES: Mapping[RoleName, Role] = {
    "detector": Role(
        {
            "dlib": Network("dlib, 68 landmarks", {"landmarks": "dlib-landmarks"}, published.load_dlib_landmarks),
            "retinaface": Network("RetinaFace", {"detector": "retinaface"}, published.load_retinaface),
        },
        ("dlib",),
    ),
    "perceptual": Role(  # a pair names its own among these, or its discriminator
        {
            "lpips": Network("LPIPS-VGG", {"perceptual": "vgg16", "lpips": "lpips-vgg"}, published.load_lpips),
            EFFICIENTNET: Network(LITE, {"perceptual": EFFICIENTNET}, published.load_efficientnet, stand_in=True),
        },
        ("lpips", OWN, EFFICIENTNET),
    ),
    "parser": Role(
        {
            "bisenet": Network("BiSeNet", {"parser": "bisenet"}, published.load_bisenet),
            "parsenet": Network("ParseNet", {"parser": "parsenet"}, published.load_parsenet),
        },
        (OWN, "bisenet", DEFAULT_OWN),
    ),
    "identity": Role(
        {
            "curricularface": Network(
                "CurricularFace",
                {"identity": "curricularface", "landmarks": "dlib-landmarks"},
                published.load_curricular_face_identity,
            ),
            "dlib": Network(
                "dlib's face recognition (stand-in)",
                {"identity": "dlib-recognition", "landmarks": "dlib-landmarks"},
                published.load_dlib_identity,
                stand_in=True,
            ),
        },
        ("curricularface", "dlib"),
    ),
    "features": Role(
        {
            "inception": Network(
                "Inception", {"features": "inception"}, published.load_inception, packages=("torch_fidelity",)
            ),
            EFFICIENTNET: Network(LITE, {"features": EFFICIENTNET}, published.load_efficientnet_pooled, stand_in=True),
        },
        ("inception", EFFICIENTNET),
    ),
    "encoder": Role(
        {
            name: Network(label, {"encoder": name}, partial(published.load_face_encoder, name))
            for name, label in ENCODERS.items()
        }
        | {
            "hyperstyle": Network(
                "HyperStyle", {"encoder": "hyperstyle", "w_encoder": "hyperstyle-w"}, published.load_hyperstyle
            )
        },
        (),
    ),
    "sketch": Role(
        {
            "sketch": Network("DeepFaceEditing", {"sketch": "sketch"}, published.load_sketch),
            "lines": Network("lines (XDoG stand-in)", {}, lambda device: LineExtractor().to(device), stand_in=True),
        },
        ("sketch", "lines"),
    ),
    "clip": Role({"clip": Network("CLIP", {"clip": "clip"}, published.load_clip)}, ()),
}


@dataclass(frozen=True)
class Choice:
    """A network that was chosen and is not yet read.

    name: of its weight in the registry, or of the network inside `pair`, whose it is. settings: how a pair wants it to
    look. stand_in: whether it stands in for the paper's network, or for the pair's own.
    """

    role: RoleName
    name: str
    label: str
    stand_in: bool
    network: Network | None = None
    pair: Pair | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The label, and for an installed weight the sha256 of the file that was published."""
        found = None if self.stand_in or self.network is None else cache.installed(self.name)
        return f"{self.label}, sha256 {found.record.source_sha256}" if found else self.label

    @property
    def uses(self) -> list[terms.Use]:
        """Every file behind it with its terms, its own first; raises WeightsMissing where one is not installed."""
        if self.network is None:
            assert self.pair is not None
            return [terms.of_pair(self.role, self.pair, network=self.name)]
        return [terms.of_weight(role, name) for role, name in self.network.weights.items()]

    @property
    def models(self) -> dict[str, str]:
        """sha256 by role, as passports record them."""
        return {use.role: use.sha256 for use in self.uses}

    def missing(self) -> list[str]:
        """Weights to pull before it can be loaded; raises WeightsMissing where the pair lacks the network itself."""
        if self.network is not None:
            return self.network.missing()
        assert self.pair is not None
        return self.pair.missing_weights([self.name])

    def whole(self) -> Choice:
        """The same perceptual network for pictures that are no aligned faces: without a closer look at their parts."""
        return replace(self, settings={key: value for key, value in self.settings.items() if key != "parts"})

    def load(self, device: torch.device) -> Any:
        """Read the network: what its role's protocol in refacer.networks says.

        Raises WeightsMissing where a file is not installed, InputRefused where it is damaged or another network's.
        """
        settings = {key: value for key, value in self.settings.items() if key not in ("network", "parts")}
        network: Any
        if self.network is not None:
            network = self.network.load(device, **settings)
        else:
            assert self.pair is not None
            network = self.pair.network(self.name).to(device)
            if self.role == "perceptual":
                network = DiscriminatorFeatures(network, **settings).to(device).eval()
        if parts := self.settings.get("parts"):
            network = WithParts(network, **parts).to(device).eval()
        return network


def choose(role: RoleName, wanted: str = "auto", pair: PairOrOpener = None) -> Choice:
    """The network of a role.

    wanted: a name of the role's networks, 'pair' for the pair's own (the default pair's where it has none), or 'auto'
    for the first of the role's order that is there. Raises UsageError for another name, WeightsMissing where the pair
    is not there.
    """
    table = ROLES[role]
    if wanted in table.networks:
        return _published(role, table.networks[wanted])
    if wanted not in ("auto", OWN):
        raise UsageError(f"{wanted}: no {role}; choose among auto, {', '.join(table.networks)}")
    for name in table.order:
        if name == OWN:
            found = _own(role, pair)
        elif name == DEFAULT_OWN:
            found = _own(role, load_pair(DEFAULT_PAIR))
            found = found and replace(found, stand_in=True)
        else:
            network = table.networks[name]
            found = _published(role, network) if wanted == "auto" and network.available else None
        if found is not None:
            return found
    raise UsageError(f"there is no {role} of a pair; choose among auto, {', '.join(table.networks)}")


def require(choices: list[Choice], pair_roles: tuple[str, ...] = (), pair: Pair | None = None) -> None:
    """Meet weights that are not installed before the work, in one error with the one command that mends it.

    pair_roles: networks of `pair` that are needed besides. Raises WeightsMissing.
    """
    names = pair.missing_weights(pair_roles) if pair is not None else []
    names += [name for choice in choices for name in choice.missing()]
    missing = [name for name in dict.fromkeys(names) if not cache.installed(name)]
    if missing:
        raise cache.missing(missing)


def uses_of_run(pair: Pair) -> list[terms.Use]:
    """All that `refacer run` uses with this pair, other options at their defaults; a file in two roles counts once."""
    uses = [terms.of_pair(role, pair) for role in NETWORKS if pair.has(role)]
    perceptual = choose("perceptual", pair=pair)
    if perceptual.network is not None or pair.has(perceptual.name):
        uses += perceptual.uses
    for role in ("encoder", "hyperstyle"):
        if pair.has(role) and isinstance(network := pair.network(role), FaceEncoder | HyperStyle):
            uses += terms.of_trunk(network.config)
    uses += choose("parser", pair=pair).uses + choose("detector").uses
    seen: dict[str, terms.Use] = {}
    for use in uses:
        seen.setdefault(use.sha256, use)
    return list(seen.values())


def _published(role: RoleName, network: Network) -> Choice:
    name = next(iter(network.weights.values()), network.label)
    return Choice(role, name, network.label, network.stand_in, network)


def _own(role: RoleName, pair: PairOrOpener) -> Choice | None:
    """The pair's own network for a role; None where it has none."""
    pair = pair() if callable(pair) else pair
    if pair is None:
        return None
    if role == "perceptual":
        settings = pair.facts["perceptual"]
        name = settings.get("network", DISCRIMINATOR)
        if name == DISCRIMINATOR:
            return Choice(role, name, f"discriminator of {pair.name} (stand-in)", True, None, pair, settings)
        network = ROLES[role].networks.get(name)
        if network is None:
            raise InputRefused(f"pair {pair.name} names an unknown perceptual network: {name}")
        return replace(_published(role, network), pair=pair, settings=settings)
    return Choice(role, role, f"{role} of {pair.name}", False, None, pair) if pair.has(role) else None
